//! The result of a tuning: questions, measures, and the proposal.

use std::collections::BTreeMap;

use crate::evaluation::{Comparison, Estimate, MEASURES, Measure, Scores, compare, estimate};
use crate::tuning::proposal::TuningProposal;
use crate::tuning::question::QuestionKind;

/// The result of a tuning.
#[derive(Clone, Debug)]
pub struct TuningReport {
    /// Chunks that took part.
    pub chunks: usize,
    /// Documents that took part.
    pub documents: usize,
    /// Chunks in the collection; more than `chunks` if only some documents took part.
    pub stored: u64,
    /// Questions by kind.
    pub questions: BTreeMap<QuestionKind, usize>,
    /// Judged or clicked queries without a relevant document in the collection.
    pub left_out: usize,
    /// Questions on which settings were chosen.
    pub fitted_on: usize,
    /// Settings that were tried on them.
    pub tried: usize,
    /// The held-out questions, in the order of the scores of each row.
    pub held_out: Vec<HeldOutQuestion>,
    /// The settings in use first; empty if there were too few questions.
    pub rows: Vec<TuningRow>,
    /// What follows.
    pub outcome: TuningOutcome,
}

/// A question on which no setting was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOutQuestion {
    /// Its origin.
    pub kind: QuestionKind,
    /// Its text.
    pub query: String,
}

/// Settings with their scores on the held-out questions.
#[derive(Clone, Debug)]
pub struct TuningRow {
    /// Name in tables: `today`, `dense alone`, `sparse alone`, `proposal`.
    pub name: &'static str,
    /// One entry per held-out question.
    pub scores: Vec<Scores>,
}

/// What follows from a tuning.
#[derive(Clone, Debug)]
pub enum TuningOutcome {
    /// Too few questions to prove anything.
    TooFew {
        /// Number of questions that are needed.
        needed: usize,
    },
    /// No other settings are provably better; the reason.
    NoGain(String),
    /// Settings that are better on the held-out questions.
    Gain(TuningProposal),
}

impl TuningRow {
    /// The scores by one measure.
    pub fn sample(&self, measure: Measure) -> Vec<f64> {
        self.scores.iter().map(|scores| measure.score(scores)).collect()
    }

    /// Mean and interval of a measure.
    pub fn estimate(&self, measure: Measure) -> Estimate {
        estimate(&self.sample(measure))
    }

    /// Difference to other settings on the same questions.
    pub fn against(&self, other: &Self, measure: Measure) -> Comparison {
        compare(&self.sample(measure), &other.sample(measure))
    }

    pub(crate) fn mean(&self, measure: Measure) -> f64 {
        crate::tuning::fit::mean(&self.sample(measure))
    }
}

impl TuningReport {
    /// The row with this name.
    pub fn row(&self, name: &str) -> Option<&TuningRow> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Difference of nDCG@10 between two rows for each kind of question.
    pub fn by_kind(
        &self,
        row: &TuningRow,
        other: &TuningRow,
    ) -> BTreeMap<QuestionKind, Comparison> {
        let ndcg = MEASURES[0];
        let (new, old) = (row.sample(ndcg), other.sample(ndcg));
        let kinds: std::collections::BTreeSet<QuestionKind> =
            self.held_out.iter().map(|question| question.kind).collect();
        let compared = kinds.into_iter().map(|kind| {
            let of = |sample: &[f64]| -> Vec<f64> {
                let pairs = sample.iter().zip(&self.held_out);
                pairs.filter(|(_, it)| it.kind == kind).map(|(score, _)| *score).collect()
            };
            (kind, compare(&of(&new), &of(&old)))
        });
        compared.collect()
    }
}
