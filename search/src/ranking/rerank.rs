//! Reorders the best candidates by the scores of a reranker.

use pipeline::{HEADING_SEPARATOR, Payload};

use crate::ranking::candidate::Candidate;
use crate::title::meaningful;

/// Reorders candidates, given best first with the scores of the first ones. Those without a score
/// keep their order after those with one; their scores continue below the lowest one, with their
/// distances. Without any score nothing changes.
pub(crate) fn reorder(candidates: Vec<Candidate>, scores: &[Option<f32>]) -> Vec<Candidate> {
    let best_before = candidates.first().map_or(0.0, |it| it.score);
    let scores = scores.iter().copied().chain(std::iter::repeat(None));
    let (mut scored, mut rest) = (Vec::new(), Vec::new());
    for (mut candidate, score) in candidates.into_iter().zip(scores) {
        let Some(score) = score else {
            rest.push(candidate);
            continue;
        };
        candidate.score = score;
        candidate.explanation.rerank = Some(score);
        scored.push(candidate);
    }
    // Stable: equal scores keep the order of the candidates.
    scored.sort_by(|a, b| b.score.total_cmp(&a.score));
    if let Some(lowest) = scored.last().map(|it| it.score) {
        for candidate in &mut rest {
            candidate.score = lowest - (best_before - candidate.score).max(0.0);
        }
    }
    scored.append(&mut rest);
    scored
}

/// The text that a reranker reads of a chunk: title and headings in a line of their own, then the
/// text of the chunk.
pub(crate) fn passage(payload: &Payload) -> String {
    let title = meaningful(payload.title.as_deref());
    let headings = payload.headings.as_deref().unwrap_or_default().split(HEADING_SEPARATOR);
    let headings = headings.map(str::trim).filter(|heading| !heading.is_empty());
    let mut context: Vec<&str> = title.into_iter().chain(headings).collect();
    // The first heading of a document often repeats its title.
    context.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
    if context.is_empty() {
        return payload.content.clone();
    }
    format!("{}\n{}", context.join(" › "), payload.content)
}

#[cfg(test)]
mod tests {
    use pipeline::test_util::payload;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::ranking::Explanation;

    fn candidates(scores: &[f32]) -> Vec<Candidate> {
        let candidate = |(nth, &score): (u128, &f32)| Candidate {
            id: Uuid::from_u128(nth),
            document: Uuid::nil(),
            chunk_index: 0,
            score,
            similarity: None,
            explanation: Explanation::default(),
        };
        (0..).zip(scores).map(candidate).collect()
    }

    fn order(candidates: &[Candidate]) -> Vec<u128> {
        candidates.iter().map(|it| it.id.as_u128()).collect()
    }

    #[test]
    fn candidates_that_were_not_scored_follow() {
        let found = reorder(
            candidates(&[0.9, 0.8, 0.7, 0.5, 0.2]),
            &[Some(-3.0), Some(2.0), None, Some(2.0)],
        );
        assert_eq!(order(&found), [1, 3, 0, 2, 4]);
        let scores: Vec<f32> = found.iter().map(|it| it.score).collect();
        assert_eq!(scores[..3], [2.0, 2.0, -3.0]);
        assert!((scores[3] + 3.2).abs() < 1e-6 && (scores[4] + 3.7).abs() < 1e-6);
        let explained: Vec<_> = found.iter().map(|it| it.explanation.rerank).collect();
        assert_eq!(explained, [Some(2.0), Some(2.0), Some(-3.0), None, None]);
    }

    #[test]
    fn a_reranker_reads_title_and_headings() {
        let text = |title: Option<&str>, headings: Option<&str>| {
            passage(&Payload {
                title: title.map(str::to_owned),
                headings: headings.map(str::to_owned),
                ..payload("trees", "Oaks live long.")
            })
        };
        assert_eq!(text(None, None), "Oaks live long.");
        assert_eq!(text(Some("Trees"), Some("Oaks > Age")), "Trees › Oaks › Age\nOaks live long.");
        assert_eq!(text(Some("Trees"), Some("TREES > Age")), "Trees › Age\nOaks live long.");
        assert_eq!(text(Some("untitled"), Some("Age")), "Age\nOaks live long.");
    }

    proptest! {
        #[test]
        fn no_candidate_is_lost_and_scores_descend(
            mut before in prop::collection::vec(-5.0_f32..5.0, 0..40),
            scores in prop::collection::vec(prop::option::of(-9.0_f32..9.0), 0..40),
        ) {
            before.sort_by(|a, b| b.total_cmp(a));
            let given = candidates(&before);
            let scores = &scores[..scores.len().min(given.len())];
            let found = reorder(given.clone(), scores);
            prop_assert!(found.is_sorted_by(|a, b| a.score >= b.score));
            let mut ids = order(&found);
            ids.sort_unstable();
            prop_assert_eq!(ids, order(&given));
            let scored = scores.iter().flatten().count();
            prop_assert!(found[..scored].iter().all(|it| it.explanation.rerank.is_some()));
            prop_assert!(order(&found[scored..]).is_sorted(), "the rest keeps its order");
            if scored == 0 {
                prop_assert_eq!(found, given);
            }
        }
    }
}
