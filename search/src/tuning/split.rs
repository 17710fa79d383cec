//! Two halves of the questions that share no relevant document.

use std::collections::HashMap;

use crate::tuning::chance::hash_of;
use crate::tuning::corpus::Corpus;
use crate::tuning::question::Question;

/// Indices of questions: settings are chosen on one half and measured on the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Halves {
    /// For the choice of settings.
    pub(crate) fit: Vec<usize>,
    /// Held out.
    pub(crate) proof: Vec<usize>,
}

/// Largest share of the questions that may be connected by common documents. Beyond it, a question
/// belongs to its first document only.
const MAX_CONNECTED: f64 = 0.4;

/// Splits by document: questions with a relevant document in common are in the same half. Groups
/// are assigned in random order, each to the half that has fewer questions of its kind.
pub(crate) fn split(questions: &[Question], corpus: &Corpus, seed: u64) -> Halves {
    let mut groups = groups(questions, true);
    let largest = groups.iter().map(Vec::len).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let is_connected = largest as f64 > MAX_CONNECTED * questions.len() as f64;
    if is_connected {
        groups = self::groups(questions, false);
    }
    groups.sort_by_cached_key(|group| {
        let document = questions[group[0]].main_document();
        let uri = document.map_or("", |at| corpus.documents[at].uri.as_str());
        (hash_of(seed, &["half", uri]), group[0])
    });
    let mut halves = Halves { fit: Vec::new(), proof: Vec::new() };
    let mut lead = HashMap::new();
    for group in groups {
        let kind = questions[group[0]].kind;
        // Positive if the first half has more questions of this kind.
        let lead = lead.entry(kind).or_insert(0_i64);
        let size = i64::try_from(group.len()).unwrap_or(i64::MAX);
        if *lead <= 0 {
            *lead += size;
            halves.fit.extend(group);
        } else {
            *lead -= size;
            halves.proof.extend(group);
        }
    }
    halves.fit.sort_unstable();
    halves.proof.sort_unstable();
    halves
}

/// Groups of questions with common documents; only the first document of each if `!all`.
fn groups(questions: &[Question], all: bool) -> Vec<Vec<usize>> {
    let mut parents: Vec<usize> = (0..questions.len()).collect();
    let mut owners: HashMap<usize, usize> = HashMap::new();
    for (at, question) in questions.iter().enumerate() {
        let documents = question.relevant.iter().flat_map(|answer| &answer.documents);
        let count = if all { usize::MAX } else { 1 };
        for document in documents.take(count) {
            let owner = *owners.entry(*document).or_insert(at);
            let (a, b) = (root(&mut parents, owner), root(&mut parents, at));
            parents[a.max(b)] = a.min(b);
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); questions.len()];
    for at in 0..questions.len() {
        let root = root(&mut parents, at);
        groups[root].push(at);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::tuning::corpus::CorpusDocument;
    use crate::tuning::question::{Answer, QuestionKind};

    fn corpus(documents: usize) -> Corpus {
        let document = |at| CorpusDocument { uri: format!("file:///{at}.md"), chunks: Vec::new() };
        Corpus { chunks: Vec::new(), documents: (0..documents).map(document).collect(), stored: 0 }
    }

    fn question(documents: &[usize]) -> Question {
        let answer = |at: &usize| Answer { documents: vec![*at], grade: 1 };
        Question {
            kind: QuestionKind::Judged,
            text: String::new(),
            relevant: documents.iter().map(answer).collect(),
            masked: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn halves_are_even_and_share_no_document(
            asked in prop::collection::vec(prop::collection::vec(0_usize..200, 1..3), 20..120),
            seed in any::<u64>(),
        ) {
            let questions: Vec<Question> = asked.iter().map(|it| question(it)).collect();
            let halves = split(&questions, &corpus(200), seed);
            prop_assert_eq!(&halves, &split(&questions, &corpus(200), seed));
            let mut all: Vec<usize> = halves.fit.iter().chain(&halves.proof).copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..questions.len()).collect::<Vec<_>>());
            let largest = groups(&questions, true).iter().map(Vec::len).max().unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "few questions")]
            let is_whole = largest as f64 <= MAX_CONNECTED * questions.len() as f64;
            if is_whole {
                let documents = |half: &[usize]| -> BTreeSet<usize> {
                    half.iter().flat_map(|at| asked[*at].iter().copied()).collect()
                };
                prop_assert!(documents(&halves.fit).is_disjoint(&documents(&halves.proof)));
                prop_assert!(halves.fit.len().abs_diff(halves.proof.len()) <= largest);
            }
        }
    }
}
