//! The port of sinks: batches to write, and no output.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use async_trait::async_trait;

use crate::node::batch_policy::BatchPolicy;
use crate::node::resources::Resources;
use crate::{BoxError, SchemaError, SinkFacts};

/// A running sink. Writes are idempotent.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use arrow::array::RecordBatch;
/// use async_trait::async_trait;
/// use pipeline::column::{SIZE, URI};
/// use pipeline::{BoxError, Sink};
/// # use pipeline::test_util::document_rows;
///
/// /// Keeps the size of each document. A second write of a document replaces the first.
/// #[derive(Default)]
/// struct Sizes(BTreeMap<String, u64>);
///
/// #[async_trait]
/// impl Sink for Sizes {
///     async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
///         let (uris, sizes) = (URI.of(&rows)?, SIZE.of(&rows)?);
///         for row in 0..rows.num_rows() {
///             self.0.insert(uris.value(row).to_owned(), sizes.value(row));
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let rows = document_rows(&[("a.txt", "text/plain", b"text")]);
/// let mut sink = Sizes::default();
/// sink.write(rows.clone()).await?;
/// sink.write(rows).await?;
/// assert_eq!(sink.0.into_values().collect::<Vec<_>>(), [4]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Sink: Send {
    /// Writes one batch. The rows are durable when the method returns.
    ///
    /// # Errors
    /// If the rows could not be written; the run ends with this error.
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError>;
}

/// Parsed options of a sink.
pub trait SinkConfig: Send + Sync {
    /// Checks the input columns. By default, a sink accepts all.
    ///
    /// # Errors
    /// If a required column is missing.
    fn accepts(&self, _input: &Schema) -> Result<(), SchemaError> {
        Ok(())
    }

    /// Facts for the code around the plan. By default, a sink writes neither the collection nor an
    /// artefact.
    fn facts(&self) -> SinkFacts {
        SinkFacts::default()
    }

    /// Opens the sink.
    ///
    /// # Errors
    /// If the target of the sink is unavailable.
    fn build(&self, with: &Resources) -> Result<Box<dyn Sink>, BoxError>;

    /// Batch policy of the sink; `None` takes batches unchanged.
    fn batch_policy(&self) -> Option<BatchPolicy> {
        None
    }
}
