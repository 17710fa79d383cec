//! The ranking of the chunks of one collection: from the rankings of the store to the order in
//! which hits are shown.
//!
//! 1. The store returns the dense and the sparse ranking, and the chunks with exact terms of the
//!    query (`legs.rs`).
//! 2. Both are fused into one list of candidates (`fusion.rs`).
//! 3. Passes reorder the candidates (`passes.rs`).
//!
//! The steps are functions of their input, without I/O. A pass that needs the text or the vector
//! of candidates gets them from the flow, which reads them before.

mod adjacent;
mod candidate;
mod diversity;
mod exact;
mod freshness;
mod fusion;
mod legs;
mod passes;
mod proximity;
mod rerank;
mod rescore;
mod siblings;

pub(crate) use self::adjacent::merge_adjacent;
pub use self::candidate::{Candidate, Explanation, Leg};
pub(crate) use self::diversity::DIVERSITY_CANDIDATES;
pub(crate) use self::exact::{ExactChunk, ExactTerm};
pub use self::freshness::Freshness;
pub use self::fusion::Fusion;
pub(crate) use self::fusion::fuse;
pub(crate) use self::legs::{BestScores, Legs};
pub(crate) use self::passes::{Passes, Ranked};
pub use self::proximity::Proximity;
pub(crate) use self::rerank::{passage, reorder};
pub(crate) use self::rescore::rescore_by_documents;
