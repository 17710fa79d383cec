//! The steps of a tuning, from the collection to the proposal.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::{Bm25fParameters, FieldEncoder, FieldParameters, StoreError};

use crate::evaluation::{EvaluationError, Judgements, MEASURES};
use crate::glob::Patterns;
use crate::ranking::Proximity;
use crate::request::SearchMode;
use crate::settings::SearchSettings;
use crate::target::Target;
use crate::tuning::corpus::Corpus;
use crate::tuning::fit::{self, ALL_KNOBS, QUERY_KNOBS, Trial};
use crate::tuning::generate::generate;
use crate::tuning::lab::{AskedVectors, Lab, LabSettings};
use crate::tuning::proof::Proof;
use crate::tuning::proposal::TuningProposal;
use crate::tuning::question::{Question, QuestionKind, is_judged, judged_questions};
use crate::tuning::report::{HeldOutQuestion, TuningOutcome, TuningReport, TuningRow};
use crate::tuning::split::{Halves, split};
use crate::tuning::vectors::{question_vectors, vectors_of_masked};
use crate::tuning::view::TrialWeights;

/// Least number of questions; half of them prove the gain.
const MIN_QUESTIONS: usize = 100;

/// Largest probability of a gain by chance with which settings are proposed.
const SIGNIFICANCE_LEVEL: f64 = 0.05;

/// Weights of the bonus for terms that are near each other.
const PROXIMITY: [f32; 3] = [0.05, 0.1, 0.2];

/// Options of a tuning.
pub struct TuningOptions {
    /// Judged queries.
    pub judgements: Option<Judgements>,
    /// Queries with clicked documents ([`crate::tuning::clicks_from_jsonl`]).
    pub clicks: Option<Judgements>,
    /// Number of questions to make from the collection.
    pub generated: usize,
    /// Seed of all random choices.
    pub seed: u64,
    /// Number of chunks in memory; of a larger collection, whole documents of about this number
    /// take part.
    pub max_chunks: usize,
}

/// Errors of a tuning.
#[derive(Debug, thiserror::Error)]
pub enum TuningError {
    /// The collection cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The questions cannot be embedded.
    #[error("cannot embed the questions: {0}")]
    Embed(String),
    /// A search failed.
    #[error(transparent)]
    Search(#[from] EvaluationError),
}

/// Fits the settings of a search to a collection. `progress` is told what is being done.
///
/// # Errors
/// If the collection cannot be read, or its model cannot embed the questions.
pub async fn tune(
    target: &Arc<Target>,
    options: &TuningOptions,
    progress: &(dyn Fn(String) + Sync),
) -> Result<TuningReport, TuningError> {
    let judged: Vec<&Patterns> = [&options.judgements, &options.clicks]
        .into_iter()
        .flatten()
        .flat_map(|judgements| &judgements.queries)
        .flat_map(|query| query.relevant.iter().map(|(patterns, _)| patterns))
        .collect();
    let kept = |uri: &str| is_judged(&judged, uri);
    progress("reading the collection".to_owned());
    let corpus = Corpus::read(&*target.index, options.max_chunks, options.seed, kept).await?;
    let (questions, left_out) = questions(&corpus, options);
    let mut counts = BTreeMap::new();
    for question in &questions {
        *counts.entry(question.kind).or_insert(0) += 1;
    }
    let mut report = TuningReport {
        chunks: corpus.chunks.len(),
        documents: corpus.documents.len(),
        stored: corpus.stored,
        questions: counts,
        left_out,
        fitted_on: 0,
        tried: 0,
        held_out: Vec::new(),
        rows: Vec::new(),
        outcome: TuningOutcome::TooFew { needed: MIN_QUESTIONS },
    };
    if questions.len() < MIN_QUESTIONS {
        return Ok(report);
    }
    let halves = split(&questions, &corpus, options.seed);
    report.fitted_on = halves.fit.len();
    let held_out = halves.proof.iter().map(|&at| &questions[at]);
    let held_out = held_out.map(|it| HeldOutQuestion { kind: it.kind, query: it.text.clone() });
    report.held_out = held_out.collect();
    progress(format!("embedding {} questions", questions.len()));
    let (lab, vectors) = lab(target, corpus, questions)?;
    let lab = Arc::new(lab);
    let start = start(target);
    progress(format!("fitting on {} questions", halves.fit.len()));
    let (wide, tried) = fit::fit(&lab, &start, &ALL_KNOBS, &halves.fit);
    let (narrow, more) = fit::fit(&lab, &start, &QUERY_KNOBS, &halves.fit);
    report.tried = tried + more;
    progress(format!("proving on {} questions", halves.proof.len()));
    let proof = Proof::new(lab, Arc::clone(target), vectors);
    let judge = Judge { proof: &proof, start, halves: &halves };
    judge.decide(&mut report, [wide, narrow]).await?;
    Ok(report)
}

/// The questions of all origins, and the number of judged ones without an answer.
fn questions(corpus: &Corpus, options: &TuningOptions) -> (Vec<Question>, usize) {
    let (mut questions, mut left_out) = (Vec::new(), 0);
    let origins =
        [(&options.judgements, QuestionKind::Judged), (&options.clicks, QuestionKind::Clicked)];
    for (judgements, kind) in origins {
        if let Some(judgements) = judgements {
            let (judged, missing) = judged_questions(judgements, kind, corpus);
            questions.extend(judged);
            left_out += missing;
        }
    }
    questions.extend(generate(corpus, options.generated, options.seed));
    (questions, left_out)
}

/// The lab, and the vectors of the questions.
fn lab(
    target: &Target,
    corpus: Corpus,
    questions: Vec<Question>,
) -> Result<(Lab, Vec<Vec<f32>>), TuningError> {
    let failed = |error: pipeline::BoxError| TuningError::Embed(error.to_string());
    let dense = question_vectors(&target.model, &questions).map_err(failed)?;
    let masked = vectors_of_masked(&target.model, &corpus, &questions).map_err(failed)?;
    let languages = languages(&corpus);
    let encoder = &target.sparse_encoder;
    let ranked = questions.iter().map(|it| encoder.encode_query(&it.text, &languages).indices);
    let exact = questions.iter().map(|it| {
        let terms = encoder.query_terms(&it.text, &languages);
        terms.into_iter().flat_map(|term| term.indices).collect()
    });
    let (terms, more_terms) = (ranked.collect(), exact.collect());
    let asked = AskedVectors { dense, terms, more_terms, masked };
    let lab = Lab::new(corpus, questions, &asked, field_encoder(target));
    Ok((lab, asked.dense))
}

/// The languages of a corpus, the most frequent one first, as a search reads them.
fn languages(corpus: &Corpus) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for chunk in &corpus.chunks {
        if let Some(language) = &chunk.payload.language {
            *counts.entry(language).or_default() += 1;
        }
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    counts.into_iter().map(|(language, _)| language.to_owned()).collect()
}

fn field_encoder(target: &Target) -> Option<&dyn FieldEncoder> {
    target.sparse_encoder.as_field_encoder().filter(|_| target.sparse)
}

/// The settings in use.
fn start(target: &Target) -> LabSettings {
    LabSettings {
        parameters: field_encoder(target).map(|encoder| encoder.parameters()),
        search: (*target.settings).clone(),
    }
}

/// Decides between settings on the held-out questions.
struct Judge<'a> {
    proof: &'a Proof,
    start: LabSettings,
    halves: &'a Halves,
}

impl Judge<'_> {
    /// Measures the settings in use and each ranking alone, and proposes the first of the trials
    /// that is provably better than the former and at least as good as the latter.
    async fn decide(
        &self,
        report: &mut TuningReport,
        trials: [Trial; 2],
    ) -> Result<(), EvaluationError> {
        let hybrid =
            if self.start.parameters.is_some() { SearchMode::Hybrid } else { SearchMode::Dense };
        report.rows.push(self.row("today", &self.start, hybrid).await?);
        report.rows.push(self.row("dense alone", &self.start, SearchMode::Dense).await?);
        if self.start.parameters.is_none() {
            let reason = "the collection has no sparse vectors, and a dense search has no settings";
            report.outcome = TuningOutcome::NoGain(reason.to_owned());
            return Ok(());
        }
        report.rows.push(self.row("sparse alone", &self.start, SearchMode::Sparse).await?);
        let ndcg = MEASURES[0];
        let mut tested: Vec<LabSettings> = vec![self.start.clone()];
        let mut reason = "no other settings are better on the questions of the fit".to_owned();
        for trial in trials {
            let settings = self.with_passes(trial.settings).await?;
            if tested.contains(&settings) {
                continue;
            }
            // Each further test could succeed by chance, too.
            #[expect(clippy::cast_precision_loss, reason = "two tests")]
            let level = SIGNIFICANCE_LEVEL / tested.len() as f64;
            tested.push(settings.clone());
            let row = self.row("proposal", &settings, hybrid).await?;
            let against = row.against(&report.rows[0], ndcg);
            let leg = report.rows[1..].iter().map(|row| row.mean(ndcg)).fold(0.0, f64::max);
            let is_better = against.difference.mean > 0.0 && against.p_value < level;
            if is_better && row.mean(ndcg) >= leg {
                report.rows.push(row);
                report.outcome = TuningOutcome::Gain(self.proposal(&settings));
                return Ok(());
            }
            reason = if is_better {
                "the best settings of the fit are worse than one of the rankings alone".to_owned()
            } else {
                let (mean, p) = (against.difference.mean, against.p_value);
                format!(
                    "the best settings of the fit are not provably better on the held-out \
                     questions: nDCG@10 {mean:+.3}, p = {p:.3}"
                )
            };
        }
        report.outcome = TuningOutcome::NoGain(reason);
        Ok(())
    }

    /// The settings with those passes that read texts and gain clearly on the questions of the fit:
    /// more than one standard error of the paired difference.
    async fn with_passes(&self, settings: LabSettings) -> Result<LabSettings, EvaluationError> {
        let mut best = (settings.clone(), self.fit_sample(&settings).await?);
        let current = best.1.clone();
        let search = &settings.search;
        let proximity = PROXIMITY.map(|weight| SearchSettings {
            proximity: Some(Proximity { weight, ..search.proximity.unwrap_or_default() }),
            ..search.clone()
        });
        // Questions without names and numbers cannot tell what is lost without exact terms.
        let exact =
            (!search.exact_terms).then(|| SearchSettings { exact_terms: true, ..search.clone() });
        for search in proximity.into_iter().chain(exact) {
            let settings = LabSettings { search, ..settings.clone() };
            let sample = self.fit_sample(&settings).await?;
            let gains: Vec<f64> = sample.iter().zip(&current).map(|(a, b)| a - b).collect();
            let is_clear = fit::mean(&gains) > fit::standard_error(&gains);
            if is_clear && fit::mean(&sample) > fit::mean(&best.1) {
                best = (settings, sample);
            }
        }
        Ok(best.0)
    }

    /// nDCG@10 of each question of the fit in a search of the product.
    async fn fit_sample(&self, settings: &LabSettings) -> Result<Vec<f64>, EvaluationError> {
        let (search, weights) = (&settings.search, self.weights(settings));
        let questions = &self.halves.fit;
        let scores = self.proof.measure(&weights, search, SearchMode::Hybrid, questions).await?;
        Ok(scores.iter().map(|it| MEASURES[0].score(it)).collect())
    }

    fn weights(&self, settings: &LabSettings) -> Arc<TrialWeights> {
        let parameters = settings.parameters.unwrap_or(NO_PARAMETERS);
        let sparse = self.proof.lab.sparse();
        let rarities = sparse.map(|it| it.rarities(&parameters)).unwrap_or_default();
        Arc::new(TrialWeights { parameters, rarities })
    }

    async fn row(
        &self,
        name: &'static str,
        settings: &LabSettings,
        mode: SearchMode,
    ) -> Result<TuningRow, EvaluationError> {
        let weights = self.weights(settings);
        let (search, questions) = (&settings.search, &self.halves.proof);
        let scores = self.proof.measure(&weights, search, mode, questions).await?;
        Ok(TuningRow { name, scores })
    }

    fn proposal(&self, settings: &LabSettings) -> TuningProposal {
        TuningProposal::new(
            (&self.start.search, &settings.search),
            (self.start.parameters.as_ref(), settings.parameters.as_ref()),
        )
    }
}

/// Stands for the parameters of a collection without sparse vectors, which no search uses.
const NO_PARAMETERS: Bm25fParameters = Bm25fParameters {
    k1: 0.0,
    fields: [FieldParameters { weight: 0.0, b: 0.0, average_length: 1.0 }; 4],
};
