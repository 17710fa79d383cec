//! `hash`: computes the SHA-256 of each document's content.

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
