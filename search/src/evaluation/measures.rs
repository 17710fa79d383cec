//! Measures as defined by `trec_eval`: nDCG with linear gains, recall, reciprocal rank.

/// A measure of a ranking, with values from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Name in commands and files: `ndcg@10`.
    pub name: &'static str,
    /// Column title in tables.
    pub title: &'static str,
    extract: fn(&Scores) -> f64,
}

/// All measures.
pub static MEASURES: &[Measure] = &[
    Measure { name: "ndcg@10", title: "nDCG@10", extract: |it| it.ndcg_10 },
    Measure { name: "recall@10", title: "Recall@10", extract: |it| it.recall_10 },
    Measure { name: "recall@100", title: "Recall@100", extract: |it| it.recall_100 },
    Measure { name: "mrr@10", title: "MRR@10", extract: |it| it.mrr_10 },
];

impl Measure {
    /// The measure of this name, ignoring case; `None` if unknown.
    ///
    /// ```
    /// use search::evaluation::{Measure, Scores};
    ///
    /// let scores = Scores { ndcg_10: 0.8, recall_10: 0.5, recall_100: 1.0, mrr_10: 1.0 };
    /// assert_eq!(Measure::by_name("nDCG@10").unwrap().score(&scores), 0.8);
    /// assert!(Measure::by_name("map").is_none());
    /// ```
    pub fn by_name(name: &str) -> Option<Self> {
        MEASURES.iter().find(|measure| measure.name.eq_ignore_ascii_case(name)).copied()
    }

    /// The value of the measure for one query.
    pub fn score(self, scores: &Scores) -> f64 {
        (self.extract)(scores)
    }
}

/// The scores of one query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Discounted cumulative gain of the first ten documents, divided by that of the ideal ranking.
    pub ndcg_10: f64,
    /// Share of the relevant documents among the first ten.
    pub recall_10: f64,
    /// Share of the relevant documents among the first hundred.
    pub recall_100: f64,
    /// Reciprocal rank of the first relevant document; 0 if it is not among the first ten.
    pub mrr_10: f64,
}

/// The scores of a ranking with these grades; `ideal` contains the grades of all relevant
/// documents, best first.
pub(crate) fn scores(grades: &[u32], ideal: &[u32]) -> Scores {
    let best = gain(ideal, 10);
    let first = grades.iter().take(10).position(|&grade| grade > 0);
    Scores {
        ndcg_10: if best > 0.0 { gain(grades, 10) / best } else { 0.0 },
        recall_10: recall(grades, ideal, 10),
        recall_100: recall(grades, ideal, 100),
        #[expect(clippy::cast_precision_loss, reason = "a rank up to ten")]
        mrr_10: first.map_or(0.0, |at| 1.0 / (at + 1) as f64),
    }
}

fn gain(grades: &[u32], depth: usize) -> f64 {
    let ranked = (2_u32..).zip(grades.iter().take(depth));
    // Not `sum`, which returns negative zero for an empty iterator.
    ranked.fold(0.0, |gain, (rank, grade)| gain + f64::from(*grade) / f64::from(rank).log2())
}

fn recall(grades: &[u32], ideal: &[u32], depth: usize) -> f64 {
    let count = |grades: &[u32]| grades.iter().filter(|&&grade| grade > 0).count();
    let (found, all) = (count(&grades[..grades.len().min(depth)]), count(ideal));
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = if all == 0 { 0.0 } else { found as f64 / all as f64 };
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length of a ranking, ranks and grades of its relevant documents, and the grades of all
    /// relevant documents; with the results of `ir_measures` 0.4.3 (by `pytrec_eval`): nDCG@10,
    /// R@10, R@100, RR@10.
    type Reference = (usize, &'static [(usize, u32)], &'static [u32], [f64; 4]);

    static REFERENCE: &[Reference] = &[
        (
            14,
            &[(7, 1), (9, 1), (10, 1), (13, 3)],
            &[3, 1, 1, 1],
            [0.202435, 0.750000, 1.000000, 0.142857],
        ),
        (
            14,
            &[(7, 2), (8, 1), (9, 3), (12, 1), (13, 3)],
            &[3, 3, 2, 1, 1],
            [0.280944, 0.600000, 1.000000, 0.142857],
        ),
        (
            14,
            &[(1, 2), (4, 1), (5, 1), (7, 1), (10, 3), (13, 3)],
            &[3, 3, 2, 1, 1, 1],
            [0.568604, 0.833333, 1.000000, 1.000000],
        ),
        (
            14,
            &[(1, 1), (5, 1), (6, 1), (7, 3), (12, 1), (14, 1)],
            &[3, 1, 1, 1, 1, 1],
            [0.517103, 0.666667, 1.000000, 1.000000],
        ),
        (14, &[(1, 3)], &[3], [1.000000, 1.000000, 1.000000, 1.000000]),
        (3, &[], &[2, 1], [0.000000, 0.000000, 0.000000, 0.000000]),
        (120, &[(16, 3), (29, 1), (82, 3)], &[3, 3, 1], [0.000000, 0.000000, 1.000000, 0.000000]),
        (
            120,
            &[(11, 3), (17, 3), (77, 1), (95, 3)],
            &[3, 3, 3, 1],
            [0.000000, 0.000000, 1.000000, 0.000000],
        ),
    ];

    #[test]
    fn measures_are_those_of_trec_eval() {
        for (length, relevant, ideal, expected) in REFERENCE {
            let mut grades = vec![0; *length];
            for (rank, grade) in *relevant {
                grades[rank - 1] = *grade;
            }
            let scores = scores(&grades, ideal);
            for (measure, expected) in MEASURES.iter().zip(expected) {
                let found = measure.score(&scores);
                let name = measure.name;
                assert!((found - expected).abs() < 1e-5, "{name} of {relevant:?}: {found}");
            }
        }
    }

    #[test]
    fn nothing_found_and_nothing_to_find_are_nothing() {
        let nothing = Scores { ndcg_10: 0.0, recall_10: 0.0, recall_100: 0.0, mrr_10: 0.0 };
        assert_eq!(scores(&[], &[3, 1]), nothing);
        assert_eq!(scores(&[0, 0], &[]), nothing);
    }
}
