//! Measures search quality with judged queries.
//!
//! This module measures and compares; the caller decides on minimum scores (`docs/evaluation.md`).

mod compare;
mod judgements;
mod measures;

use std::sync::Arc;

use async_trait::async_trait;
use pipeline::BoxError;

use crate::glob::Patterns;
use crate::request::{Request, SearchMode};
use crate::results::SearchResults;
use crate::searcher::Searcher;
use crate::target::Target;

pub use compare::{Comparison, Estimate, compare, estimate};
pub use judgements::{JudgedQuery, Judgements, JudgementsError};
pub use measures::{MEASURES, Measure, Scores};

pub(crate) use measures::scores;

/// Number of documents that are evaluated per query.
pub(crate) const DEPTH: usize = 100;

/// The scores of all queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The search mode.
    pub mode: SearchMode,
    /// One entry per query, in the order of the judgements.
    pub scores: Vec<Scores>,
}

impl Evaluation {
    /// The scores of all queries by one measure.
    pub fn sample(&self, measure: Measure) -> Vec<f64> {
        self.scores.iter().map(|scores| measure.score(scores)).collect()
    }

    /// The mean of a measure over the queries.
    pub fn mean(&self, measure: Measure) -> f64 {
        compare::mean(&self.sample(measure))
    }
}

/// Errors of an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// A query failed.
    #[error("the query `{question}` failed: {error}")]
    QueryFailed {
        /// The query.
        question: String,
        /// The error.
        error: String,
    },
}

/// Answers the queries of an evaluation: a searcher in this process, or a server.
#[async_trait]
pub trait Answerer: Send + Sync {
    /// The answer to a request.
    ///
    /// # Errors
    /// If there is no answer. A failed collection is listed in the answer.
    async fn answer(&self, request: &Request) -> Result<SearchResults, BoxError>;
}

/// A generation that is searched in this process.
struct LocalAnswerer<'a> {
    searcher: &'a Searcher,
    target: &'a Arc<Target>,
}

#[async_trait]
impl Answerer for LocalAnswerer<'_> {
    async fn answer(&self, request: &Request) -> Result<SearchResults, BoxError> {
        Ok(self.searcher.search(request, self.target).await?)
    }
}

/// Runs every query on one generation, as [`evaluate_by`] does.
///
/// # Errors
/// As [`evaluate_by`].
pub async fn evaluate(
    searcher: &Searcher,
    target: &Arc<Target>,
    judgements: &Judgements,
    mode: Option<SearchMode>,
) -> Result<Evaluation, EvaluationError> {
    let answerer = LocalAnswerer { searcher, target };
    evaluate_by(&answerer, &target.name, judgements, mode).await
}

/// Runs every query on the collection with this name or id. Documents are ranked by their best
/// passage.
///
/// # Errors
/// If a query fails: a mean over the others would be misleading.
pub async fn evaluate_by(
    answerer: &dyn Answerer,
    collection: &str,
    judgements: &Judgements,
    mode: Option<SearchMode>,
) -> Result<Evaluation, EvaluationError> {
    let mut all = Vec::with_capacity(judgements.queries.len());
    let mut by = mode.unwrap_or(SearchMode::Dense);
    for JudgedQuery { query: question, relevant, .. } in &judgements.queries {
        let failed = |error| EvaluationError::QueryFailed { question: question.clone(), error };
        let request = Request {
            mode,
            k: DEPTH,
            per_document: Some(1),
            highlight: false,
            // Deep enough that fusion does not truncate the rankings.
            candidates: Some(DEPTH * 5),
            ..Request::new(question, vec![collection.to_owned()])
        };
        let answer = answerer.answer(&request).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if let Some(failure) = answer.failed.first() {
            return Err(failed(failure.error.clone()));
        }
        by = answer.searched.first().map_or(by, |searched| searched.mode);
        let uris: Vec<&str> = answer.hits.iter().map(|hit| hit.payload.uri.as_str()).collect();
        all.push(scores(&grades_by_pattern(&uris, relevant), &ideal_grades(relevant)));
    }
    Ok(Evaluation { mode: by, scores: all })
}

/// The grade of each document in a ranking of `count` documents. `matches` tells if the document at
/// a rank (from 0) is relevant by the pattern at an index, which has this grade. If a pattern
/// matches several documents, the first one counts and the others are skipped.
pub(crate) fn grades(
    count: usize,
    relevant: &[u32],
    matches: impl Fn(usize, usize) -> bool,
) -> Vec<u32> {
    let mut found = vec![false; relevant.len()];
    let mut grades = Vec::with_capacity(count);
    for rank in 0..count {
        let matching = || (0..relevant.len()).filter(|&at| matches(rank, at));
        match matching().find(|&at| !found[at]) {
            Some(at) => {
                found[at] = true;
                grades.push(relevant[at]);
            }
            None if matching().next().is_some() => {}
            None => grades.push(0),
        }
    }
    grades
}

/// The grade of each document in a ranking, by path patterns.
fn grades_by_pattern(uris: &[&str], relevant: &[(Patterns, u32)]) -> Vec<u32> {
    let of: Vec<u32> = relevant.iter().map(|(_, grade)| *grade).collect();
    grades(uris.len(), &of, |rank, at| relevant[at].0.match_one(uris[rank]))
}

/// The grades of all relevant documents, best first.
fn ideal_grades(relevant: &[(Patterns, u32)]) -> Vec<u32> {
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
        let relevant = &judgements.queries[0].relevant;
        let uris =
            ["file:///x/c.txt", "file:///x/docs/1.txt", "file:///docs/2.txt", "file:///x/b.txt"];
        assert_eq!(grades_by_pattern(&uris, relevant), [0, 2, 1]);
        assert_eq!(ideal_grades(relevant), [2, 1, 1]);
    }
}
