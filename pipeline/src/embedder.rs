//! The ports to the embedding engine; `embedding/` implements them with libtorch.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{BoxError, Reranker, RerankerInfo, RerankerOptions};

/// Description of a model, read from its folder without loading its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Folder of the model.
    pub path: PathBuf,
    /// Short name for collections, in lower-case letters and digits: `minilml6` for
    /// all-MiniLM-L6-v2, `qwen06b` for Qwen3-Embedding-0.6B.
    pub short_name: String,
    /// Dimension of the vectors.
    pub dim: usize,
    /// Maximum number of input tokens, special tokens and prompt included.
    pub max_tokens: usize,
    /// Hash of weights, configuration, tokenizer and prompts; changes whenever the vectors change.
    pub fingerprint: String,
}

impl ModelInfo {
    /// The model with vectors truncated to their first `dim` components and scaled to length 1. Its
    /// fingerprint differs, because its vectors are not comparable with those of the full model.
    /// `None`, 0 and a `dim` that is not smaller return the model unchanged.
    ///
    /// ```
    /// use pipeline::ModelInfo;
    ///
    /// let model = ModelInfo {
    ///     path: "models/qwen".into(),
    ///     short_name: "qwen06b".to_owned(),
    ///     dim: 1024,
    ///     max_tokens: 32_768,
    ///     fingerprint: "5c38ec7".to_owned(),
    /// };
    /// let short = model.clone().with_truncated_dim(Some(256));
    /// assert_eq!((short.dim, &*short.fingerprint), (256, "5c38ec7/256"));
    /// assert_eq!(model.clone().with_truncated_dim(Some(4096)), model);
    /// ```
    #[must_use]
    pub fn with_truncated_dim(self, dim: Option<usize>) -> Self {
        match dim {
            Some(dim) if dim > 0 && dim < self.dim => {
                Self { dim, fingerprint: format!("{}/{dim}", self.fingerprint), ..self }
            }
            _ => self,
        }
    }
}

/// Options for loading a model. Only `dim` changes the meaning of the vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedderOptions {
    /// `auto`, `cpu`, `mps`, `cuda` (all cards), `cuda:N`, `cuda:N,M`.
    pub device: String,
    /// `auto`, `float32`, `bfloat16`, `float16`, `int8`.
    pub dtype: String,
    /// Maximum number of tokens in one forward pass, padding included; `None` lets the engine
    /// choose.
    pub tokens_per_batch: Option<usize>,
    /// Dimension of the vectors; see [`ModelInfo::with_truncated_dim`]. `None` is that of the
    /// model.
    pub dim: Option<usize>,
}

/// Provides models by folder, or by name on the hub. A model is loaded once for the same options,
/// however often it is requested.
pub trait ModelProvider: Send + Sync {
    /// Reads the description of a model; cheap.
    ///
    /// # Errors
    /// If the folder contains no model, or one of an unsupported architecture, which the error
    /// names.
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError>;

    /// The tokenizer of a model, without its weights.
    ///
    /// # Errors
    /// If the folder has no readable tokenizer.
    fn tokenizer(&self, model: &Path) -> Result<Arc<dyn Tokenizer>, BoxError>;

    /// The loaded model.
    ///
    /// # Errors
    /// If the weights do not fit the configuration, the device is unavailable, or `options.dim`
    /// exceeds the dimension of the model.
    fn embedder(
        &self,
        model: &Path,
        options: &EmbedderOptions,
    ) -> Result<Arc<dyn Embedder>, BoxError>;

    /// Reads the description of a reranker; cheap. A provider without rerankers refuses every one.
    ///
    /// # Errors
    /// If the folder contains no reranker, or one of an unsupported architecture, which the error
    /// names.
    fn describe_reranker(&self, model: &Path) -> Result<RerankerInfo, BoxError> {
        Err(no_rerankers(model))
    }

    /// The loaded reranker.
    ///
    /// # Errors
    /// As [`describe_reranker`](Self::describe_reranker); and if the weights do not fit the
    /// configuration, or the device is unavailable.
    fn reranker(
        &self,
        model: &Path,
        _options: &RerankerOptions,
    ) -> Result<Arc<dyn Reranker>, BoxError> {
        Err(no_rerankers(model))
    }
}

fn no_rerankers(model: &Path) -> BoxError {
    format!("cannot load the reranker {}: this program runs none", model.display()).into()
}

/// Role of a text; some models expect a prompt that depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// A passage to be found.
    Document,
    /// A query.
    Query,
}

/// Tokens of a text, without special tokens or prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenizedText {
    /// Token ids, in order.
    pub ids: Vec<u32>,
    /// Byte range of the text for each token; ascending.
    pub offsets: Vec<Range<usize>>,
    /// For each token, `true` if the text may be split before it: each side, encoded alone, has the
    /// same ids. True at the start of a word for a tokenizer that splits at words first.
    pub can_split_before: Vec<bool>,
}

/// Encoded input: token ids of a text with prompt and special tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedInput {
    /// All token ids, prompt and special tokens included.
    pub ids: Vec<u32>,
    /// `true` if the text was too long and its end was truncated.
    pub truncated: bool,
}

/// Encodes text for a model. Any number of threads may use it concurrently.
///
/// ```
/// use pipeline::{BoxError, EncodedInput, TextKind, TokenizedText, Tokenizer};
///
/// /// One token per byte, between the special tokens 256 and 257.
/// struct Bytes;
///
/// impl Tokenizer for Bytes {
///     fn encode(&self, text: &str) -> Result<TokenizedText, BoxError> {
///         Ok(TokenizedText {
///             ids: text.bytes().map(u32::from).collect(),
///             offsets: (0..text.len()).map(|at| at..at + 1).collect(),
///             can_split_before: (0..text.len()).map(|at| text.is_char_boundary(at)).collect(),
///         })
///     }
///
///     fn add_special_tokens(&self, ids: &[u32]) -> Vec<u32> {
///         std::iter::once(256).chain(ids.iter().copied()).chain([257]).collect()
///     }
///
///     fn num_added_tokens(&self) -> usize {
///         2
///     }
///
///     fn encode_input(&self, text: &str, _: TextKind) -> Result<EncodedInput, BoxError> {
///         let ids = self.encode(text)?.ids;
///         let kept = ids.len().min(self.max_tokens() - self.num_added_tokens());
///         let truncated = kept < ids.len();
///         Ok(EncodedInput { ids: self.add_special_tokens(&ids[..kept]), truncated })
///     }
///
///     fn max_tokens(&self) -> usize {
///         6
///     }
/// }
///
/// let input = Bytes.encode_input("token", TextKind::Document)?;
/// assert_eq!(input.ids, [256, 116, 111, 107, 101, 257]);
/// assert!(input.truncated);
/// // The encoded input of a passage that fits equals the frame of its ids.
/// let ids = Bytes.encode("to")?.ids;
/// assert_eq!(Bytes.add_special_tokens(&ids), Bytes.encode_input("to", TextKind::Document)?.ids);
/// # Ok::<_, BoxError>(())
/// ```
pub trait Tokenizer: Send + Sync {
    /// Encodes a text of any length, without special tokens, prompt or truncation, in memory that
    /// is a small multiple of the text.
    ///
    /// # Errors
    /// If the files of the tokenizer have a defect that only some texts reveal.
    fn encode(&self, text: &str) -> Result<TokenizedText, BoxError>;

    /// Encoded input of a passage with these ids: adds prompt and special tokens.
    fn add_special_tokens(&self, ids: &[u32]) -> Vec<u32>;

    /// Number of ids that [`Tokenizer::add_special_tokens`] adds.
    fn num_added_tokens(&self) -> usize;

    /// Encoded input of a whole text: its prompt, and as much of the text as fits. For a passage
    /// that fits, it equals the frame of its ids. The prompt of a query may share a token with the
    /// start of the query, so a query has no frame.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    fn encode_input(&self, text: &str, kind: TextKind) -> Result<EncodedInput, BoxError>;

    /// Maximum number of ids per input, [`Tokenizer::num_added_tokens`] included.
    fn max_tokens(&self) -> usize;
}

/// A loaded model. Any number of threads may use it concurrently; its own threads process the
/// requests in order.
///
/// ```
/// use pipeline::{BoxError, Embedder, EmbedderUsage, ModelInfo};
///
/// /// Counts even and odd token ids.
/// struct Parity(ModelInfo);
///
/// impl Embedder for Parity {
///     fn info(&self) -> &ModelInfo {
///         &self.0
///     }
///
///     fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
///         let mut vectors = Vec::with_capacity(sequences.len() * self.0.dim);
///         for ids in sequences {
///             let odd = ids.iter().filter(|id| *id % 2 == 1).count() as f32;
///             vectors.extend([ids.len() as f32 - odd, odd]);
///         }
///         Ok(vectors)
///     }
///
///     fn usage(&self) -> EmbedderUsage {
///         EmbedderUsage::default()
///     }
/// }
///
/// # let info = ModelInfo {
/// #     path: "parity".into(),
/// #     short_name: "parity".to_owned(),
/// #     dim: 2,
/// #     max_tokens: 16,
/// #     fingerprint: "1".to_owned(),
/// # };
/// let embedder = Parity(info);
/// let vectors = embedder.embed(&[&[2, 4, 5], &[7]])?;
/// assert_eq!(vectors.chunks(embedder.info().dim).collect::<Vec<_>>(), [[2.0, 1.0], [0.0, 1.0]]);
/// # Ok::<_, BoxError>(())
/// ```
pub trait Embedder: Send + Sync {
    /// Description of the model.
    fn info(&self) -> &ModelInfo;

    /// Embeds token sequences from [`Tokenizer::add_special_tokens`] or
    /// [`Tokenizer::encode_input`], each of 1 to [`ModelInfo::max_tokens`] ids.
    ///
    /// Returns `sequences.len() × dim` numbers, row-major in input order, pooled as the folder of
    /// the model specifies, and normalised if it specifies so.
    ///
    /// # Errors
    /// If a sequence is invalid, memory does not suffice for a single sequence, the model returns
    /// non-finite values, or its device fails.
    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError>;

    /// Usage of the model so far.
    fn usage(&self) -> EmbedderUsage;
}

impl std::iter::Sum for EmbedderUsage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |sum, it| Self {
            sequences: sum.sequences + it.sequences,
            tokens: sum.tokens + it.tokens,
            reused_sequences: sum.reused_sequences + it.reused_sequences,
            reused_tokens: sum.reused_tokens + it.reused_tokens,
            padding_tokens: sum.padding_tokens + it.padding_tokens,
            forward_passes: sum.forward_passes + it.forward_passes,
            busy_seconds: sum.busy_seconds + it.busy_seconds,
        })
    }
}

/// Usage of a model since it was first requested.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EmbedderUsage {
    /// Embedded sequences.
    pub sequences: u64,
    /// Embedded tokens, without padding.
    pub tokens: u64,
    /// Sequences answered without the model: their vectors were cached, or they occurred several
    /// times in one call.
    pub reused_sequences: u64,
    /// Tokens of the reused sequences.
    pub reused_tokens: u64,
    /// Padding computed with the embedded tokens.
    pub padding_tokens: u64,
    /// Forward passes.
    pub forward_passes: u64,
    /// Seconds in which the thread of the model computed.
    pub busy_seconds: f64,
}
