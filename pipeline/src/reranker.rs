//! The port to models that score pairs of a query and a passage; `embedding/` implements it.

use std::path::PathBuf;
use std::time::Instant;

use crate::{BoxError, EmbedderUsage};

/// Description of a reranker, read from its folder without loading its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RerankerInfo {
    /// Folder of the model.
    pub path: PathBuf,
    /// Short name for logs and tables, as in [`ModelInfo`](crate::ModelInfo).
    pub short_name: String,
    /// Maximum number of tokens of a pair, special tokens included.
    pub max_tokens: usize,
    /// Hash of weights, configuration and tokenizer; changes whenever the scores change.
    pub fingerprint: String,
}

/// Options for loading a reranker. Neither changes the meaning of the scores.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RerankerOptions {
    /// `auto`, `cpu`, `mps`, `cuda` (all cards), `cuda:N`, `cuda:N,M`.
    pub device: String,
    /// `auto`, `float32`, `bfloat16`, `float16`, `int8`.
    pub dtype: String,
}

impl Default for RerankerOptions {
    fn default() -> Self {
        Self { device: "auto".to_owned(), dtype: "auto".to_owned() }
    }
}

/// A loaded reranker: it reads query and passage together, so it judges better than the similarity
/// of their vectors, and takes a forward pass per passage. Any number of threads may use it
/// concurrently.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use pipeline::{BoxError, EmbedderUsage, Reranker, RerankerInfo};
///
/// /// Counts the words of the query that the passage contains.
/// struct Overlap(RerankerInfo);
///
/// impl Reranker for Overlap {
///     fn info(&self) -> &RerankerInfo {
///         &self.0
///     }
///
///     fn score(
///         &self,
///         query: &str,
///         passages: &[&str],
///         deadline: Instant,
///     ) -> Result<Vec<Option<f32>>, BoxError> {
///         let score = |passage: &&str| {
///             let words = query.split(' ').filter(|word| passage.contains(word));
///             (Instant::now() < deadline).then(|| words.count() as f32)
///         };
///         Ok(passages.iter().map(score).collect())
///     }
///
///     fn usage(&self) -> EmbedderUsage {
///         EmbedderUsage::default()
///     }
/// }
///
/// # let info = RerankerInfo {
/// #     path: "overlap".into(),
/// #     short_name: "overlap".to_owned(),
/// #     max_tokens: 512,
/// #     fingerprint: "1".to_owned(),
/// # };
/// let reranker = Overlap(info);
/// let later = Instant::now() + Duration::from_secs(60);
/// let scores = reranker.score("red apple", &["a red car", "a red apple"], later)?;
/// assert_eq!(scores, [Some(1.0), Some(2.0)]);
/// assert_eq!(reranker.score("red", &["a red car"], Instant::now())?, [None]);
/// # Ok::<_, BoxError>(())
/// ```
pub trait Reranker: Send + Sync {
    /// Description of the model.
    fn info(&self) -> &RerankerInfo;

    /// Scores passages for a query, in their order; a higher score is more relevant. Scores of one
    /// query are comparable, those of several queries or models are not.
    ///
    /// The passages are scored from the first to the last until the deadline; those not reached are
    /// `None`, so callers pass the most promising ones first. A pair longer than
    /// [`RerankerInfo::max_tokens`] is truncated, the longer one of its texts first.
    ///
    /// # Errors
    /// If memory does not suffice for a single pair, the model returns non-finite scores, or its
    /// device fails.
    fn score(
        &self,
        query: &str,
        passages: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Option<f32>>, BoxError>;

    /// Usage of the model so far; a sequence is a pair.
    fn usage(&self) -> EmbedderUsage;
}
