//! How good answers are: questions whose right answers are known, and the measures that follow from where they
//! come up.
//!
//! It measures and compares; what is good enough is decided by whoever asks (`docs/evaluation.md`).

mod chance;
mod compare;
mod judgements;
mod measures;

use std::sync::Arc;

use crate::glob::Patterns;
use crate::request::{Mode, Request};
use crate::searcher::Searcher;
use crate::target::Target;

pub use compare::{Comparison, Estimate, compare, estimate};
pub use judgements::{BadJudgements, Judged, Judgements};
pub use measures::{MEASURES, Measure, Scores};

use measures::scores;

/// Documents that are looked at of each answer.
const DEPTH: usize = 100;

/// The scores of every question, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// By what documents were found.
    pub mode: Mode,
    /// One for each question.
    pub scores: Vec<Scores>,
}

impl Evaluation {
    /// What each question scores by a measure.
    pub fn sample(&self, measure: Measure) -> Vec<f64> {
        self.scores.iter().map(|scores| measure.of(scores)).collect()
    }

    /// The mean over the questions.
    pub fn mean(&self, measure: Measure) -> f64 {
        compare::mean(&self.sample(measure))
    }
}

/// Why there is no evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// A question was not answered.
    #[error("the question `{question}` was not answered: {error}")]
    Question {
        /// The question.
        question: String,
        /// Why.
        error: String,
    },
}

/// Asks one generation every question. Documents are ranked by their best passage.
///
/// # Errors
/// If a question is not answered: a mean over some of them would say nothing.
pub async fn evaluate(
    searcher: &Searcher,
    target: &Arc<Target>,
    judgements: &Judgements,
    mode: Option<Mode>,
) -> Result<Evaluation, Unanswered> {
    let mut all = Vec::with_capacity(judgements.judged.len());
    let mut by = mode.unwrap_or(Mode::Dense);
    for Judged { question, relevant, .. } in &judgements.judged {
        let failed = |error| Unanswered::Question { question: question.clone(), error };
        let request = Request {
            mode,
            k: DEPTH,
            per_document: Some(1),
            highlight: false,
            // As deep as is looked, so that each ranking is there whole.
            candidates: Some(DEPTH * 5),
            ..Request::new(question, vec![target.name.clone()])
        };
        let answer = searcher.answer(&request, target).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if let Some(failure) = answer.failed.first() {
            return Err(failed(failure.error.clone()));
        }
        by = answer.searched.first().map_or(by, |searched| searched.mode);
        let uris: Vec<&str> = answer.hits.iter().map(|hit| hit.payload.uri.as_str()).collect();
        all.push(scores(&grades(&uris, relevant), &ideal(relevant)));
    }
    Ok(Evaluation { mode: by, scores: all })
}

/// The grade of each place of a ranking. What is judged may be several documents: the first of them counts, and the
/// others are passed over.
fn grades(uris: &[&str], relevant: &[(Patterns, u32)]) -> Vec<u32> {
    let mut found = vec![false; relevant.len()];
    let mut grades = Vec::with_capacity(uris.len());
    for uri in uris {
        let matching = || (0..relevant.len()).filter(|&at| relevant[at].0.match_one(uri));
        match matching().find(|&at| !found[at]) {
            Some(at) => {
                found[at] = true;
                grades.push(relevant[at].1);
            }
            None if matching().next().is_some() => {}
            None => grades.push(0),
        }
    }
    grades
}

/// The grades of what is relevant, best first.
fn ideal(relevant: &[(Patterns, u32)]) -> Vec<u32> {
    let mut grades: Vec<u32> = relevant.iter().map(|(_, grade)| *grade).collect();
    grades.sort_unstable_by(|a, b| b.cmp(a));
    grades
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_equal_answers_counts_once() {
        let judgements = Judgements::from_jsonl(
            r#"{"query": "q", "relevant": {"docs/**": 2, "b.txt": 1, "/never/seen.txt": 1}}"#,
        )
        .unwrap();
        let relevant = &judgements.judged[0].relevant;
        let uris =
            ["file:///x/c.txt", "file:///x/docs/1.txt", "file:///docs/2.txt", "file:///x/b.txt"];
        assert_eq!(grades(&uris, relevant), [0, 2, 1]);
        assert_eq!(ideal(relevant), [2, 1, 1]);
    }
}
