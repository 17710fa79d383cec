//! The port of stages: one batch in, one outcome out.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use serde_json::Value;

use crate::node::batch_policy::BatchPolicy;
use crate::node::resources::Resources;
use crate::{BoxError, EmbedderOptions, ModelInfo, Outcome, SchemaError, StageFacts};

/// A running stage: a function from one batch to one outcome. It has no channel, thread, clock or
/// store.
///
/// An `Err` ends the run. A document that cannot be processed goes into [`Outcome::rejected`]
/// instead, and its row is left out.
///
/// A function of a batch is a stage. This one sets documents aside that have no bytes:
///
/// ```
/// use arrow::array::RecordBatch;
/// use pipeline::column::BYTES;
/// use pipeline::{BoxError, Outcome, RejectReason, Rejection, RowsExt as _, Stage};
/// # use pipeline::test_util::document_rows;
///
/// fn drop_empty(rows: RecordBatch) -> Result<Outcome, BoxError> {
///     let mut rejected = Vec::new();
///     let mut keep = Vec::with_capacity(rows.num_rows());
///     for (row, bytes) in BYTES.of(&rows)?.iter().enumerate() {
///         let is_empty = bytes.is_none_or(<[u8]>::is_empty);
///         keep.push(!is_empty);
///         if is_empty {
///             rejected.push(Rejection::from_row(&rows, row, RejectReason::Empty)?);
///         }
///     }
///     Ok(Outcome { rows: rows.filter_rows(keep)?, rejected })
/// }
///
/// let mut stage: Box<dyn Stage> = Box::new(drop_empty);
/// # let rows = document_rows(&[("a.txt", "text/plain", b"text"), ("b.txt", "text/plain", b"")]);
/// // The documents a.txt and b.txt, the second of which is empty.
/// let outcome = stage.process(rows)?;
/// assert_eq!(outcome.rows.num_rows(), 1);
/// assert!(outcome.rejected[0].location.uri.ends_with("/b.txt"));
/// # Ok::<_, BoxError>(())
/// ```
pub trait Stage: Send {
    /// Processes one batch, which has the schema that the plan gave the edge.
    ///
    /// # Errors
    /// If a later run might succeed or the stage cannot continue; the run ends with this error.
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError>;
}

impl<F> Stage for F
where
    F: FnMut(RecordBatch) -> Result<Outcome, BoxError> + Send,
{
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError> {
        self(rows)
    }
}

/// Parsed options of a stage. They derive its schema and build any number of stages.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{RecordBatch, StringArray};
/// use arrow::datatypes::{Schema, SchemaRef};
/// use pipeline::column::{LANGUAGE, URI};
/// use pipeline::{
///     BoxError, Outcome, Resources, RowsExt as _, SchemaError, SchemaExt as _, Stage, StageConfig,
/// };
/// use serde_json::{Value, json};
///
/// /// Adds the column `language` with one value for all documents.
/// struct FixedLanguage {
///     code: String,
/// }
///
/// impl StageConfig for FixedLanguage {
///     fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
///         input.require(URI.field())?;
///         input.with_column(LANGUAGE.field())
///     }
///
///     fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
///         let code = self.code.clone();
///         Ok(Box::new(move |rows: RecordBatch| -> Result<Outcome, BoxError> {
///             let codes = StringArray::from(vec![&*code; rows.num_rows()]);
///             Ok(rows.with_column(&*LANGUAGE, Arc::new(codes))?.into())
///         }))
///     }
///
///     fn identity(&self) -> Value {
///         json!({ "code": self.code })
///     }
/// }
///
/// # use pipeline::test_util::{document_rows, no_resources as resources};
/// # let rows = document_rows(&[("a.txt", "text/plain", b"text")]);
/// let config = FixedLanguage { code: "de".to_owned() };
/// let schema = config.output_schema(rows.schema_ref())?;
/// let outcome = config.build(&resources())?.process(rows)?;
/// assert_eq!(outcome.rows.schema(), schema);
/// assert_eq!(LANGUAGE.of(&outcome.rows)?.value(0), "de");
/// # Ok::<_, BoxError>(())
/// ```
pub trait StageConfig: Send + Sync {
    /// The output columns for these input columns.
    ///
    /// # Errors
    /// If a required column is missing, or an added column already exists.
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError>;

    /// Builds one stage; called once per worker.
    ///
    /// # Errors
    /// If a resource of the stage, such as a model, is unavailable.
    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError>;

    /// The options that affect the output of the stage, for its fingerprint. Options that only
    /// affect speed (devices, budgets) are left out.
    fn identity(&self) -> Value;

    /// Batch policy of the stage; `None` takes batches unchanged.
    fn batch_policy(&self) -> Option<BatchPolicy> {
        None
    }

    /// Facts for the code around the plan.
    fn facts(&self) -> StageFacts {
        StageFacts::default()
    }

    /// Use of an embedding model by the stage.
    fn model(&self) -> ModelUse<'_> {
        ModelUse::None
    }

    /// Gives the stage the description of the model that it runs or prepares text for; called
    /// before schemas are derived and stages are built.
    ///
    /// # Errors
    /// If an option conflicts with the model.
    fn bind_model(&mut self, _model: &ModelInfo) -> Result<(), IncompatibleOption> {
        Ok(())
    }
}

/// An option that conflicts with the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompatibleOption {
    /// Name of the option.
    pub option: &'static str,
    /// Message for the finding.
    pub message: String,
}

/// Use of an embedding model by a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelUse<'a> {
    /// The stage uses no model.
    None,
    /// The stage runs this model.
    Runs {
        /// Folder of the model, or its name on the hub.
        model: &'a Path,
        /// Options with which the stage loads the model.
        options: EmbedderOptions,
    },
    /// The stage prepares text for the model of a later node, if there is one.
    FollowsDownstream,
    /// The stage prepares text for the model of a later node, which is required.
    RequiresDownstream,
}
