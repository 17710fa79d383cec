//! What is asked: one question to one or several collections, and how hits are chosen and shown.

use std::fmt;
use std::str::FromStr;

use pipeline::{Effort, Fusion};

use crate::filter::Condition;

/// The most hits of one answer.
pub(crate) const MOST_HITS: usize = 1000;

/// How many hits a request can leave out at most; and the most candidates.
pub(crate) const DEEPEST: usize = 10_000;

/// Longer than any cursor that is handed out.
const LONGEST_CURSOR: usize = 200;

/// The largest constant of reciprocal rank fusion; all ranks count alike long before.
const MOST_FUSION_K: u32 = 1_000_000;

/// The largest weight of a ranking.
const MOST_WEIGHT: f32 = 1_000_000.0;

/// By what hits are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By meaning: the similarity of dense vectors.
    Dense,
    /// By words: BM25.
    Sparse,
    /// By both, fused by rank.
    Hybrid,
}

impl Mode {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
            Self::Hybrid => "hybrid",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Dense, Self::Sparse, Self::Hybrid]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("`{text}` is no mode: it is dense, sparse or hybrid"))
    }
}

/// A question, and what its answer is to be like.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// In words, as a person asks.
    pub query: String,
    /// The collections that are asked, as the caller names them to [`crate::Resolve`].
    pub collections: Vec<String>,
    /// `None` is hybrid where a collection has sparse vectors, and dense where it has not.
    pub mode: Option<Mode>,
    /// How many hits; with [`Request::per_document`], how many documents.
    pub k: usize,
    /// How many of the best are left out, in the unit of `k`.
    pub offset: usize,
    /// [`Answer::cursor`](crate::Answer::cursor) of the page before; it has the offset.
    pub cursor: Option<String>,
    /// What hits must be like.
    pub filter: Option<Condition>,
    /// The least cosine similarity between a hit and the question, by the model of the collection, whatever the
    /// mode.
    pub threshold: Option<f32>,
    /// Gathers hits by document, so many of each at most: the documents of the best hits come first, and the hits
    /// of a document stand together.
    pub per_document: Option<usize>,
    /// How rankings are fused.
    pub fusion: Fusion,
    /// How many of the best of each ranking are fused; `None` lets it follow from `k` and `offset`. It is what
    /// counts, not the number in `fusion`.
    pub candidates: Option<usize>,
    /// Whether hits say where the words of the question are in them.
    pub highlight: bool,
    /// How hard to look.
    pub effort: Effort,
    /// What the search may cost ([`Request::cost`]): no more hits are read for gathering documents, and no page is offered,
    /// than it allows. Whoever takes requests from clients refuses those that cost more to begin with.
    pub budget: u64,
}

impl Request {
    /// The ten best hits of a question in these collections.
    pub fn new(query: impl Into<String>, collections: Vec<String>) -> Self {
        Self {
            query: query.into(),
            collections,
            mode: None,
            k: 10,
            offset: 0,
            cursor: None,
            filter: None,
            threshold: None,
            per_document: None,
            fusion: Fusion::default(),
            candidates: None,
            highlight: true,
            effort: Effort::Indexed,
            budget: u64::MAX,
        }
    }

    /// Refuses what cannot be answered, before anything is asked.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.collections.is_empty() {
            let message = "no collection is named".to_owned();
            return Err(Invalid { field: "collections", message });
        }
        self.check_question()
    }

    /// The same, whichever collections are asked.
    ///
    /// # Errors
    /// Names the field that is invalid.
    pub fn check_question(&self) -> Result<(), Invalid> {
        let invalid = |field, message: String| Err(Invalid { field, message });
        let within = |number: f32| (-1.0..=1.0).contains(&number);
        if self.query.trim().is_empty() {
            return invalid("query", "it is empty".to_owned());
        }
        let is_long = |cursor: &String| !(1..=LONGEST_CURSOR).contains(&cursor.len());
        if self.cursor.as_ref().is_some_and(is_long) {
            return invalid("cursor", "it is none that was handed out".to_owned());
        }
        if !(1..=MOST_HITS).contains(&self.k) {
            return invalid("k", format!("it is from 1 to {MOST_HITS}, and not {}", self.k));
        }
        if self.offset > DEEPEST {
            return invalid("offset", format!("it is at most {DEEPEST}"));
        }
        if self.threshold.is_some_and(|threshold| !within(threshold)) {
            return invalid("threshold", "it is a cosine, from -1 to 1".to_owned());
        }
        if self.per_document.is_some_and(|most| !(1..=100).contains(&most)) {
            return invalid("per_document", "it is from 1 to 100".to_owned());
        }
        if self.candidates.is_some_and(|count| !(1..=DEEPEST).contains(&count)) {
            return invalid("candidates", format!("it is from 1 to {DEEPEST}"));
        }
        let Fusion { k, dense, sparse, .. } = self.fusion;
        let sound = |weight: f32| (0.0..=MOST_WEIGHT).contains(&weight);
        let is_sound = sound(dense) && sound(sparse) && dense + sparse > 0.0;
        if !(1..=MOST_FUSION_K).contains(&k) || !is_sound {
            let message = format!(
                "k is from 1 to {MOST_FUSION_K}, weights are from 0 to {MOST_WEIGHT}, and one of them is not 0"
            );
            return invalid("fusion", message);
        }
        Ok(())
    }
}

/// A part of a request that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is not right: {message}")]
pub struct Invalid {
    /// The part, by the name of its field in [`Request`].
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}
