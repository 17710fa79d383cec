//! `dedup`: sets aside documents whose content is stored already or occurred earlier in this run.
//!
//! It compares content hashes, so documents with the same words in different bytes both pass. The
//! unique index in Postgres is authoritative; this stage only saves work.
//!
//! ```
//! use arrow::array::new_null_array;
//! use pipeline::RowsExt as _;
//! use pipeline::column::KNOWN_HASH;
//! # use std::path::Path;
//! # use pipeline::test_util::{document_rows, no_resources};
//! # use pipeline::{NodeKind, Outcome};
//! # fn run(name: &str, options: serde_json::Value, rows: arrow::array::RecordBatch) -> Outcome {
//! #     let def = stages::NODES.iter().find(|def| def.name == name).unwrap();
//! #     let NodeKind::Stage(config) = (def.parse)(options, Path::new("/")).unwrap() else {
//! #         unreachable!()
//! #     };
//! #     config.build(&no_resources()).unwrap().process(rows).unwrap()
//! # }
//!
//! let documents: [(&str, &str, &[u8]); 3] =
//!     [("a", "text/plain", b"one"), ("b", "text/plain", b"two"), ("c", "text/plain", b"one")];
//! let rows = run("hash", serde_json::json!({}), document_rows(&documents)).rows;
//! // The locations are new.
//! let unknown = new_null_array(KNOWN_HASH.field().data_type(), rows.num_rows());
//! let rows = rows.with_column(&*KNOWN_HASH, unknown)?;
//! let outcome = run("dedup", serde_json::json!({}), rows);
//! assert_eq!(outcome.rows.num_rows(), 2);
//! assert_eq!(outcome.rejected[0].location.uri, "file:///corpus/c");
//! assert_eq!(outcome.rejected[0].reason.code(), "duplicate");
//! # Ok::<_, pipeline::BoxError>(())
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use pipeline::column::{CONTENT_HASH, KNOWN_HASH};
use pipeline::{
    BoxError, ContentHash, KnownHashes, NodeDef, NodeKind, Outcome, Parallelism, RejectReason,
    Rejection, Resources, RowsExt as _, SchemaError, SchemaExt as _, Stage, StageConfig,
    options_schema,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const NODE: NodeDef = NodeDef {
    name: "dedup",
    summary: "Sets aside documents whose content is stored or occurred earlier in this run",
    version: 1,
    parallelism: Parallelism::Single,
    schema: options_schema::<DedupOptions>,
    parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<DedupOptions>(with)?))),
};

/// `dedup` has no options.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DedupOptions {}

impl StageConfig for DedupOptions {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(CONTENT_HASH.field())?;
        input.require(KNOWN_HASH.field())?;
        Ok(input.without_column(KNOWN_HASH.name()))
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        Ok(Box::new(DedupStage { known: Arc::clone(&with.known_hashes), seen: HashSet::new() }))
    }

    fn identity(&self) -> Value {
        json!({})
    }
}

struct DedupStage {
    /// Contents stored before this run.
    known: Arc<KnownHashes>,
    /// Contents that passed in this run.
    seen: HashSet<ContentHash>,
}

impl Stage for DedupStage {
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError> {
        let (contents, before) = (CONTENT_HASH.of(&rows)?, KNOWN_HASH.of(&rows)?);
        let mut set_aside = Vec::new();
        let mut keep = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let content = ContentHash::try_from(contents.value(row))?;
            let before = before.is_valid(row).then(|| before.value(row));
            let why = self.reject_reason(content, before);
            keep.push(why.is_none());
            if let Some(why) = why {
                set_aside.push(Rejection::from_row(&rows, row, why)?);
            }
        }
        Ok(Outcome {
            rows: rows.filter_rows(keep)?.without_column(KNOWN_HASH.name()),
            rejected: set_aside,
        })
    }
}

impl DedupStage {
    fn reject_reason(
        &mut self,
        content: ContentHash,
        before: Option<&[u8]>,
    ) -> Option<RejectReason> {
        let is_known = self.known.contains(&content);
        if is_known && before == Some(&content.0) {
            // The file was touched, or moved away and back: its content is unchanged.
            return Some(RejectReason::MetadataChanged);
        }
        if is_known || !self.seen.insert(content) {
            return Some(RejectReason::Duplicate);
        }
        None
    }
}
