//! `hash`: computes the SHA-256 of each document's content.
//!
//! ```
//! use pipeline::ContentHash;
//! use pipeline::column::CONTENT_HASH;
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
//! let documents = document_rows(&[("a", "text/plain", b"abc")]);
//! let rows = run("hash", serde_json::json!({}), documents).rows;
//! let hash = ContentHash::try_from(CONTENT_HASH.of(&rows)?.value(0))?;
//! assert_eq!(
//!     hash.to_string(),
//!     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
//! );
//! # Ok::<_, pipeline::BoxError>(())
//! ```

use std::sync::Arc;

use arrow::array::{FixedSizeBinaryArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use pipeline::column::{BYTES, CONTENT_HASH};
use pipeline::{
    BoxError, NodeDef, NodeKind, Outcome, Parallelism, Resources, RowsExt as _, SchemaError,
    SchemaExt as _, Stage, StageConfig, options_schema,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const NODE: NodeDef = NodeDef {
    name: "hash",
    summary: "Computes the SHA-256 of each document's content",
    version: 1,
    parallelism: Parallelism::Any,
    schema: options_schema::<HashOptions>,
    parse: |with, _| Ok(NodeKind::Stage(Box::new(serde_json::from_value::<HashOptions>(with)?))),
};

/// `hash` has no options.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HashOptions {}

impl StageConfig for HashOptions {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(BYTES.field())?;
        input.with_column(CONTENT_HASH.field())
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        Ok(Box::new(|rows: RecordBatch| hash_batch(&rows).map(Outcome::from)))
    }

    fn identity(&self) -> Value {
        json!({})
    }
}

fn hash_batch(rows: &RecordBatch) -> Result<RecordBatch, BoxError> {
    let mut digests = Vec::with_capacity(32 * rows.num_rows());
    for bytes in BYTES.of(rows)? {
        digests.extend_from_slice(&Sha256::digest(bytes.unwrap_or_default()));
    }
    let digests = FixedSizeBinaryArray::try_new(32, Buffer::from_vec(digests), None)?;
    Ok(rows.with_column(&*CONTENT_HASH, Arc::new(digests))?)
}
