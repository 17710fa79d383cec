//! The port of sources: batches of documents, and decisions about single URIs.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::node::resources::Resources;
use crate::node::stage::StageConfig;
use crate::{BoxError, Location, Outcome};

/// A running source. The runtime polls it on its own thread, so it may block.
///
/// ```
/// use async_trait::async_trait;
/// use pipeline::test_util::document_rows;
/// use pipeline::{BoxError, Outcome, Source};
///
/// /// Produces one document per batch.
/// struct Texts(std::vec::IntoIter<&'static str>);
///
/// #[async_trait]
/// impl Source for Texts {
///     async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
///         let Some(text) = self.0.next() else { return Ok(None) };
///         // The columns of the location, `mime_type` and `bytes`.
///         let rows = document_rows(&[(text, "text/plain", text.as_bytes())]);
///         Ok(Some(rows.into()))
///     }
///
///     fn exhausted_roots(&self) -> Vec<String> {
///         vec!["file:///corpus".to_owned()]
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let mut source = Texts(vec!["one", "two"].into_iter());
/// let mut documents = 0;
/// while let Some(outcome) = source.next_batch().await? {
///     documents += outcome.rows.num_rows();
/// }
/// assert_eq!(documents, 2);
/// // Stored documents of this root that were not produced are deleted.
/// assert_eq!(source.exhausted_roots(), ["file:///corpus"]);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Source: Send {
    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// If the source as a whole cannot be read. A single unreadable document is set aside instead.
    ///
    /// # Cancellation
    /// The runtime never drops the future; it stops calling the method.
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError>;

    /// Source roots ([`crate::column::SOURCE`]) of which all documents were produced; called
    /// after [`Source::next_batch`] returned `None`. Known documents of these roots that were not
    /// produced are gone.
    fn exhausted_roots(&self) -> Vec<String>;

    /// Totals for the report; called together with [`Source::exhausted_roots`].
    fn totals(&self) -> SourceTotals {
        SourceTotals::default()
    }
}

/// Totals of a source that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTotals {
    /// Covered source roots without a document.
    pub empty_roots: Vec<String>,
    /// Number of files and folders that options excluded, by option; a folder counts once.
    pub excluded: BTreeMap<String, u64>,
}

/// Parsed options of a source.
pub trait SourceConfig: Send + Sync {
    /// The columns that the source produces.
    fn schema(&self) -> SchemaRef;

    /// Opens the source.
    ///
    /// # Errors
    /// If the source does not exist.
    fn build(&self, with: &Resources) -> Result<Box<dyn Source>, BoxError>;

    /// The source in two parts, for [`crate::Plan::cut`]; `None` if listing and reading are one
    /// step.
    fn split(&self) -> Option<SplitSource> {
        None
    }

    /// Decision of the source about a URI at this time; `None` if the source cannot decide.
    fn decide(&self, _uri: &str) -> Option<SourceDecision> {
        None
    }

    /// Source roots, as in [`crate::column::SOURCE`]; empty if the source does not know them.
    fn roots(&self) -> Vec<String> {
        Vec::new()
    }

    /// Conditions that would currently make a run fail or find no documents. It may read the source
    /// roots, so it may be slow.
    fn warnings(&self) -> Vec<SourceWarning> {
        Vec::new()
    }
}

/// A source in two parts, which together produce the rows of the source.
pub struct SplitSource {
    /// Lists the documents and detects changes; its rows have no content.
    pub listing: Box<dyn SourceConfig>,
    /// Maps rows of the listing to rows of the source. A document that cannot be read is set aside.
    pub reader: Box<dyn StageConfig>,
}

/// A warning about a source root, shown before a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceWarning {
    /// The option, as a path below `with`: `paths/0`.
    pub option: String,
    /// Message in one line.
    pub message: String,
    /// Suggested remedy.
    pub help: String,
}

/// Decision of a source about a URI ([`crate::column::URI`]).
#[derive(Clone, Debug, PartialEq)]
pub enum SourceDecision {
    /// The source produces the document, if it is new or changed.
    Included(Location),
    /// The source sets the document aside.
    Rejected(crate::Rejection),
    /// The URI is below a source root and excluded by options; one description per option.
    Excluded(Vec<String>),
    /// The URI is below a source root and does not exist.
    Missing,
    /// The URI is outside the source roots.
    OutsideSource,
}
