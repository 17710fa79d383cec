//! Test questions: a text, the documents that answer it, and what is hidden from the index while it
//! is asked.

use std::fmt;

use pipeline::Payload;
use rayon::prelude::*;
use serde::Serialize;

use crate::evaluation::Judgements;
use crate::glob::Patterns;
use crate::tuning::corpus::Corpus;

/// The origin of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QuestionKind {
    /// From a file of judgements.
    Judged,
    /// From a file of clicks.
    Clicked,
    /// A sentence of a document that says what it is about.
    Definition,
    /// A heading of a document.
    Heading,
    /// The title of a document.
    Title,
}

impl fmt::Display for QuestionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Judged => "judged",
            Self::Clicked => "clicked",
            Self::Definition => "definition",
            Self::Heading => "heading",
            Self::Title => "title",
        })
    }
}

/// A question with its answers.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) kind: QuestionKind,
    pub(crate) text: String,
    /// At least one, best grade first.
    pub(crate) relevant: Vec<Answer>,
    /// Chunks that differ from the store while this question is asked.
    pub(crate) masked: Vec<MaskedChunk>,
}

/// A relevant document, or several of which the first one found counts.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Indices in [`Corpus::documents`], ascending; empty if no document of the corpus matches.
    pub(crate) documents: Vec<usize>,
    pub(crate) grade: u32,
}

/// A chunk without the words of a question that was made from it.
#[derive(Clone, Debug)]
pub(crate) struct MaskedChunk {
    /// Index in [`Corpus::chunks`].
    pub(crate) chunk: usize,
    /// The payload to index; `None` if the chunk takes no part.
    pub(crate) payload: Option<Payload>,
}

impl Question {
    /// The first document of the corpus that answers it.
    pub(crate) fn main_document(&self) -> Option<usize> {
        self.relevant.iter().find_map(|answer| answer.documents.first().copied())
    }

    /// The grades of all answers, best first.
    pub(crate) fn ideal(&self) -> Vec<u32> {
        let mut grades: Vec<u32> = self.relevant.iter().map(|answer| answer.grade).collect();
        grades.sort_unstable_by(|a, b| b.cmp(a));
        grades
    }

    /// The grades of documents in their order in a ranking, as [`crate::evaluation::evaluate`]
    /// gives them.
    pub(crate) fn grades(&self, ranking: &[usize]) -> Vec<u32> {
        let matches = |rank: usize, at: usize| {
            self.relevant[at].documents.binary_search(&ranking[rank]).is_ok()
        };
        let grades: Vec<u32> = self.relevant.iter().map(|answer| answer.grade).collect();
        crate::evaluation::grades(ranking.len(), &grades, matches)
    }
}

/// The judged queries as questions. Those without an answer in the corpus are left out; their
/// number is the second value.
pub(crate) fn judged_questions(
    judgements: &Judgements,
    kind: QuestionKind,
    corpus: &Corpus,
) -> (Vec<Question>, usize) {
    // Every pattern is compared with every document.
    let asked = judgements.queries.par_iter().map(|judged| {
        let answers = judged.relevant.iter().map(|(patterns, grade)| {
            let is_match = |at: &usize| patterns.match_one(&corpus.documents[*at].uri);
            let documents = (0..corpus.documents.len()).filter(is_match).collect();
            Answer { documents, grade: *grade }
        });
        let mut relevant: Vec<Answer> = answers.collect();
        relevant.sort_by_key(|answer| std::cmp::Reverse(answer.grade));
        Question { kind, text: judged.query.clone(), relevant, masked: Vec::new() }
    });
    let mut questions: Vec<Question> = asked.collect();
    questions.retain(|question| question.main_document().is_some());
    let missing = judgements.queries.len() - questions.len();
    (questions, missing)
}

/// `true` if a judged query names this document.
pub(crate) fn is_judged(patterns: &[&Patterns], uri: &str) -> bool {
    patterns.iter().any(|patterns| patterns.match_one(uri))
}
