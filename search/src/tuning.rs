//! Fits the settings of a search to one collection, and proves the gain on questions that were not
//! used for the choice (docs/adr/0044-tuning.md).
//!
//! The collection is read once; everything else happens in memory. Nothing is changed: the result
//! is a proposal, which the caller shows.

mod chance;
mod clicks;
mod corpus;
mod definition;
mod dense_lab;
mod fit;
mod generate;
mod lab;
mod mask;
mod proof;
mod proposal;
mod question;
mod report;
mod sparse_lab;
mod split;
mod tuner;
mod vectors;
mod view;

pub use clicks::clicks_from_jsonl;
pub use proposal::{ParameterChange, TuningProposal};
pub use question::QuestionKind;
pub use report::{HeldOutQuestion, TuningOutcome, TuningReport, TuningRow};
pub use tuner::{TuningError, TuningOptions, tune};
