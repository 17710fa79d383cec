//! Test doubles: a model, known documents, and batches built by hand.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{Field, Schema};
pub(crate) use pipeline::test_util::document_rows as files;
use pipeline::test_util::no_resources;
use pipeline::{
    BoxError, Embedder, EmbedderOptions, EmbedderUsage, EncodedInput, ModelInfo, ModelProvider,
    NodeKind, Outcome, Resources, SplitMix64, StageConfig, TextKind, TokenizedText, Tokenizer,
};
use serde_json::Value;

/// The stage `name` with these options, which must be valid by its own JSON schema.
pub(crate) fn stage(name: &str, options: Value) -> Box<dyn StageConfig> {
    match node(name, options, Path::new("/nowhere")) {
        NodeKind::Stage(config) => config,
        NodeKind::Source(_) | NodeKind::Sink(_) => panic!("`{name}` is not a stage"),
    }
}

fn node(name: &str, options: Value, folder: &Path) -> NodeKind {
    let def = stages::NODES.iter().find(|def| def.name == name).expect("the node exists");
    (def.parse)(options, folder).expect("valid options")
}

/// Runs a stage on one batch, and checks that the output has the declared schema.
pub(crate) fn run(config: &dyn StageConfig, with: &Resources, rows: RecordBatch) -> Outcome {
    let expected = config.output_schema(rows.schema_ref()).expect("the required columns exist");
    let outcome = config.build(with).unwrap().process(rows).unwrap();
    assert_eq!(outcome.rows.schema(), expected);
    outcome
}

pub(crate) fn batch(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

pub(crate) fn with_column(rows: &RecordBatch, field: Field, array: ArrayRef) -> RecordBatch {
    let mut columns: Vec<_> = rows
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .zip(rows.columns().iter().cloned())
        .collect();
    columns.push((field, array));
    batch(columns)
}

/// SHA-256 columns; each hash consists of one repeated byte.
pub(crate) fn hashes(bytes: &[Option<u8>]) -> ArrayRef {
    let values = bytes.iter().map(|byte| byte.map(|byte| [byte; 32]));
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 32).unwrap())
}

/// Resources with only the test model.
pub(crate) fn empty_resources() -> Resources {
    Resources { models: Arc::new(FakeStores), ..no_resources() }
}

/// The test model, available under any name.
struct FakeStores;

/// The test model: at most 16 tokens, 3 dimensions.
pub(crate) fn model(path: &Path) -> ModelInfo {
    ModelInfo {
        path: path.to_owned(),
        short_name: "pieces".to_owned(),
        dim: 3,
        max_tokens: 16,
        fingerprint: "pieces-1".to_owned(),
    }
}

impl ModelProvider for FakeStores {
    fn describe(&self, path: &Path) -> Result<ModelInfo, BoxError> {
        Ok(model(path))
    }

    fn tokenizer(&self, _: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        Ok(Arc::new(FakeTokenizer))
    }

    fn embedder(&self, path: &Path, _: &EmbedderOptions) -> Result<Arc<dyn Embedder>, BoxError> {
        Ok(Arc::new(FakeEmbedder(model(path))))
    }
}

/// A tokenizer that splits at white space and punctuation, and words into parts of three
/// characters. The id of a part depends on whether it begins a word, as in WordPiece, so a split
/// inside a word changes the ids.
pub(crate) struct FakeTokenizer;

const BEGIN: u32 = 1;
const END: u32 = 2;
const PIECE: usize = 3;

impl Tokenizer for FakeTokenizer {
    fn encode(&self, text: &str) -> Result<TokenizedText, BoxError> {
        let mut tokens = TokenizedText::default();
        let mut in_word = 0;
        for (at, char) in text.char_indices() {
            let (start, end) = (at, at + char.len_utf8());
            if char.is_whitespace() {
                in_word = 0;
                continue;
            }
            let continues = char.is_alphanumeric() && in_word > 0;
            if continues && in_word % PIECE != 0 {
                let (id, span) =
                    (tokens.ids.last_mut().unwrap(), tokens.offsets.last_mut().unwrap());
                *id = id.wrapping_mul(31).wrapping_add(u32::from(char));
                span.end = end;
            } else {
                let salt = if continues { 7 } else { 1000 };
                tokens.ids.push(u32::from(char).wrapping_add(salt));
                tokens.offsets.push(start..end);
                tokens.can_split_before.push(!continues);
            }
            in_word = if char.is_alphanumeric() { in_word + 1 } else { 0 };
        }
        Ok(tokens)
    }

    fn add_special_tokens(&self, ids: &[u32]) -> Vec<u32> {
        let mut framed = vec![BEGIN];
        framed.extend_from_slice(ids);
        framed.push(END);
        framed
    }

    fn num_added_tokens(&self) -> usize {
        2
    }

    fn encode_input(&self, text: &str, _: TextKind) -> Result<EncodedInput, BoxError> {
        let ids = self.encode(text)?.ids;
        let room = self.max_tokens() - self.num_added_tokens();
        let cut = ids.len() > room;
        Ok(EncodedInput {
            ids: self.add_special_tokens(&ids[..ids.len().min(room)]),
            truncated: cut,
        })
    }

    fn max_tokens(&self) -> usize {
        16
    }
}

/// An embedder whose vectors consist of the length, the first and the last id of the sequence.
struct FakeEmbedder(ModelInfo);

impl Embedder for FakeEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        let vector = |ids: &&[u32]| [ids.len() as f32, ids[0] as f32, ids[ids.len() - 1] as f32];
        Ok(sequences.iter().flat_map(vector).collect())
    }

    fn usage(&self) -> EmbedderUsage {
        EmbedderUsage::default()
    }
}

/// A damaged copy: truncated, with a range removed or repeated, or with some bytes changed.
pub(crate) fn mutated(bytes: &[u8], random: &mut SplitMix64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (at, length) = (random.below(bytes.len()), 1 + random.below(64));
    let end = (at + length).min(bytes.len());
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            // At the end of an archive is its directory.
            let other = random.below(bytes.len());
            bytes.extend_from_within(at.min(other)..at.max(other));
        }
        3 => {
            let part = bytes[at..end].repeat(random.below(200));
            drop(bytes.splice(at..at, part));
        }
        _ => {
            for _ in 0..=random.below(16) {
                let at = random.below(bytes.len());
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
        }
    }
    bytes
}
