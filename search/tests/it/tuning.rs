//! Tuning of a collection in memory: the lab finds what a search of the store finds, and a proposal
//! is proved or withheld.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use search::evaluation::{Judgements, MEASURES, Scores, evaluate};
use search::tuning::{QuestionKind, TuningOptions, TuningOutcome, TuningReport, tune};
use search::{Fusion, SearchMode, SearchSettings, Searcher, Target};

use crate::support::{MemoryCollection, ToyEmbedder};

/// Words for documents, each with a stem of its own.
const WORDS: [&str; 16] = [
    "apple", "bridge", "candle", "dragon", "engine", "forest", "guitar", "harbor", "island",
    "jacket", "kettle", "lantern", "mirror", "needle", "orchid", "pepper",
];

/// Documents of three chunks with words in common, each with a word of its own.
fn documents(count: usize) -> Vec<(String, Vec<String>)> {
    let chunk = |document: usize, part: usize| {
        let word = |n: usize| {
            let mixed = (document * 7 + part * 3 + n + 1).wrapping_mul(2_654_435_761) >> 13;
            WORDS[mixed % WORDS.len()]
        };
        let mut text = (0..12 + document % 5).map(word).collect::<Vec<_>>().join(" ");
        if part == 1 {
            write!(text, " topic{document}x {}", word(20)).unwrap();
        }
        text
    };
    let document = |at| (format!("d{at}.txt"), (0..3).map(|part| chunk(at, part)).collect());
    (0..count).map(document).collect()
}

async fn collection(documents: &[(String, Vec<String>)]) -> Arc<Target> {
    let model = ToyEmbedder::new("toy");
    let chunks: Vec<(&str, Vec<&str>)> = documents
        .iter()
        .map(|(path, chunks)| (path.as_str(), chunks.iter().map(String::as_str).collect()))
        .collect();
    let borrowed: Vec<_> = chunks.iter().map(|(path, chunks)| (*path, chunks.as_slice())).collect();
    MemoryCollection::new("tuned", &model).with_documents(&borrowed).target().await
}

/// One query for each document: some of its words, with its own one or without.
fn judgements(documents: &[(String, Vec<String>)], with_own: bool) -> Judgements {
    let mut lines = String::new();
    for (at, (path, chunks)) in documents.iter().enumerate() {
        let common = if with_own { 1 } else { 3 };
        let mut words: Vec<&str> = chunks[1].split(' ').take(common).collect();
        let own = format!("topic{at}x");
        if with_own {
            words.push(&own);
        }
        let query = words.join(" ");
        writeln!(lines, r#"{{"query": "{query} {at}", "relevant": {{"{path}": 1}}}}"#).unwrap();
    }
    Judgements::from_jsonl(&lines).unwrap()
}

fn options(judgements: Option<Judgements>) -> TuningOptions {
    TuningOptions { judgements, clicks: None, generated: 0, seed: 1, max_chunks: 50_000 }
}

async fn tuned(target: &Arc<Target>, options: &TuningOptions) -> TuningReport {
    tune(target, options, &|_| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lab_finds_what_the_store_finds() {
    let documents = documents(120);
    let target = collection(&documents).await;
    let report = tuned(&target, &options(Some(judgements(&documents, false)))).await;
    let searcher = Searcher::default();
    let modes = [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Sparse];
    for (row, mode) in report.rows.iter().zip(modes) {
        let judgements = judgements(&documents, false);
        let evaluation = evaluate(&searcher, &target, &judgements, Some(mode)).await.unwrap();
        let queries = judgements.queries.iter().map(|it| it.query.as_str());
        let expected: BTreeMap<&str, Scores> = queries.zip(evaluation.scores).collect();
        for (question, scores) in report.held_out.iter().zip(&row.scores) {
            assert_eq!(scores, &expected[question.query.as_str()], "{mode} {}", question.query);
        }
    }
    assert_eq!(report.questions[&QuestionKind::Judged], 120);
    assert!(report.fitted_on.abs_diff(report.held_out.len()) <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_is_better_than_today_and_than_each_ranking() {
    let documents = documents(140);
    // The words of a query tell its document, and these settings hardly look at them.
    let fusion = Fusion::Convex { dense: 0.95 };
    let settings = SearchSettings { exact_terms: false, fusion, ..SearchSettings::default() };
    let target = Arc::new(collection(&documents).await.with_settings(settings));
    let report = tuned(&target, &options(Some(judgements(&documents, true)))).await;
    let TuningOutcome::Gain(proposal) = &report.outcome else {
        panic!("{:?} of {:?}", report.outcome, rows(&report));
    };
    assert!(!proposal.is_empty());
    let means: BTreeMap<&str, f64> = rows(&report).into_iter().collect();
    for name in ["today", "dense alone", "sparse alone"] {
        assert!(means["proposal"] >= means[name], "{means:?}");
    }
}

fn rows(report: &TuningReport) -> Vec<(&str, f64)> {
    let mean = |sample: Vec<f64>| {
        let count = f64::from(u32::try_from(sample.len()).unwrap());
        sample.iter().sum::<f64>() / count
    };
    report.rows.iter().map(|row| (row.name, mean(row.sample(MEASURES[0])))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn few_questions_prove_nothing() {
    let documents = documents(60);
    let target = collection(&documents).await;
    let report = tuned(&target, &options(Some(judgements(&documents, true)))).await;
    assert!(matches!(report.outcome, TuningOutcome::TooFew { needed: 100 }));
    assert!(report.rows.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_without_an_answer_are_left_out() {
    let documents = documents(110);
    let target = collection(&documents).await;
    let mut judgements = judgements(&documents, true);
    let absent = r#"{"query": "absent", "relevant": {"absent.txt": 1}}"#;
    judgements.queries.extend(Judgements::from_jsonl(absent).unwrap().queries);
    let report = tuned(&target, &options(Some(judgements))).await;
    assert_eq!((report.questions[&QuestionKind::Judged], report.left_out), (110, 1));
}
