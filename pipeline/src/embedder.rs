//! The ports to the embedding engine. `embedding/` stands behind them with libtorch.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::BoxError;

/// What a model's folder says of it, without loading its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// The folder.
    pub path: PathBuf,
    /// A short name for collections: `minilml6` for all-MiniLM-L6-v2, `qwen06b` for
    /// Qwen3-Embedding-0.6B; lower-case letters and digits only.
    pub short_name: String,
    /// Length of a vector.
    pub dim: usize,
    /// The most tokens that the model reads at once, special tokens and prefix included.
    pub max_tokens: usize,
    /// Changes whenever the vectors would: hash of weights, configuration, tokenizer and prompts.
    pub fingerprint: String,
}

impl ModelInfo {
    /// The same model with shorter vectors, where they are to be shorter: the beginning of each, scaled to length
    /// one. It is a model of its own, since its vectors are not those of the whole one.
    #[must_use]
    pub fn shortened(self, dim: Option<usize>) -> Self {
        match dim {
            Some(dim) if dim > 0 && dim < self.dim => {
                Self { dim, fingerprint: format!("{}/{dim}", self.fingerprint), ..self }
            }
            _ => self,
        }
    }
}

/// How a model is to be run. But for the length of vectors, none of it changes what they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedderOptions {
    /// `auto`, `cpu`, `mps`, `cuda` (all cards), `cuda:N`, `cuda:N,M`.
    pub device: String,
    /// `auto`, `float32`, `bfloat16`, `float16`, `int8`.
    pub dtype: String,
    /// Most tokens in one forward pass, padding included; `None` lets the engine choose.
    pub tokens_per_batch: Option<usize>,
    /// Length of the vectors; see [`ModelInfo::shortened`]. `None` is the model's own.
    pub dim: Option<usize>,
}

/// Gives models by folder, or by name on the hub. For the same options a model is loaded once, however often it is asked for.
pub trait Models: Send + Sync {
    /// Reads what the folder says of its model; cheap.
    ///
    /// # Errors
    /// If there is no model there, or none that is supported: says which architecture it is.
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError>;

    /// The model's tokenizer, without its weights.
    ///
    /// # Errors
    /// If the folder has no tokenizer that can be read.
    fn tokenizer(&self, model: &Path) -> Result<Arc<dyn Tokenizer>, BoxError>;

    /// The model itself.
    ///
    /// # Errors
    /// If the weights do not fit the configuration, the device is not there, or vectors are to be longer than the
    /// model has them.
    fn embedder(
        &self,
        model: &Path,
        options: &EmbedderOptions,
    ) -> Result<Arc<dyn Embedder>, BoxError>;
}

/// What a text is to the model; some models want to be told by a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// A passage that is to be found.
    Document,
    /// A question that looks for passages.
    Query,
}

/// A text as the model's vocabulary has it, without special tokens or prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The ids, in order.
    pub ids: Vec<u32>,
    /// Which bytes of the text each id stands for; ascending.
    pub spans: Vec<Range<usize>>,
    /// Whether the ids may be cut in front of this one: whether each side, encoded alone, would give
    /// the same ids. True where a word begins, for a tokenizer that splits at words first.
    pub may_cut: Vec<bool>,
}

/// What a model reads of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// All ids, those of prefix and special tokens included.
    pub ids: Vec<u32>,
    /// Whether the text was too long, and its end was cut off.
    pub cut: bool,
}

/// Turns text into what a model reads. Any number of threads may use it at once.
pub trait Tokenizer: Send + Sync {
    /// Encodes a text of any length, without special tokens, prefix or truncation, in memory that is
    /// a small multiple of the text.
    ///
    /// # Errors
    /// If the tokenizer's files are broken in a way that only shows on some text.
    fn encode(&self, text: &str) -> Result<Tokens, BoxError>;

    /// What the model reads for a passage of these ids: prefix and special tokens put around them.
    fn frame(&self, ids: &[u32]) -> Vec<u32>;

    /// How many ids [`Tokenizer::frame`] adds.
    fn overhead(&self) -> usize;

    /// What the model reads for a whole text: its prefix, and as much of it as fits. For a passage that fits it is
    /// the frame of its ids; a question's prefix may be one word with its beginning, so it has no frame.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    fn read(&self, text: &str, kind: TextKind) -> Result<Reading, BoxError>;

    /// The most ids that the model reads, [`Tokenizer::overhead`] included.
    fn max_tokens(&self) -> usize;
}

/// A loaded model. Any number of threads may use it at once; threads of its own serve them in order.
pub trait Embedder: Send + Sync {
    /// What the model is.
    fn info(&self) -> &ModelInfo;

    /// Embeds token sequences as the model reads them (see [`Tokenizer::frame`] and [`Tokenizer::read`]), each of at least one and at most
    /// [`ModelInfo::max_tokens`] ids.
    ///
    /// Returns `sequences.len() × dim` numbers, row after row in the order of the input, as the model's
    /// folder says: pooled, normalised if it says so.
    ///
    /// # Errors
    /// If a sequence is none that the model reads, there is no memory for it alone, the model gives numbers that are none, or
    /// its device has failed.
    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError>;

    /// What the model has done so far.
    fn usage(&self) -> EmbedderUsage;
}

/// What a model has done since it was first asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EmbedderUsage {
    /// Sequences embedded.
    pub sequences: u64,
    /// Tokens embedded, without padding.
    pub tokens: u64,
    /// Sequences that were answered without the model: they were remembered, or were in one call
    /// several times.
    pub reused_sequences: u64,
    /// Tokens of those.
    pub reused_tokens: u64,
    /// Padding that was computed beside them.
    pub padding: u64,
    /// Forward passes.
    pub batches: u64,
    /// Seconds that the model's thread was computing.
    pub busy_seconds: f64,
}
