//! Chooses settings on one half of the questions: a coordinate search over small grids, then the
//! simplest settings within one standard error of the best ones.

use pipeline::PassageField;

use crate::evaluation::{MEASURES, Scores};
use crate::ranking::Fusion;
use crate::settings::SearchSettings;
use crate::tuning::lab::{Lab, LabSettings};

/// Rounds over all settings; the search ends before if a round changes nothing.
const ROUNDS: usize = 4;

/// Weights of the dense score in a convex combination.
const DENSE: [f32; 13] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0];

/// Constants of reciprocal rank fusion, with the weights of both rankings.
const RRF: [(u32, f32, f32); 7] = [
    (60, 1.0, 1.0),
    (20, 1.0, 1.0),
    (10, 1.0, 1.0),
    (10, 2.0, 1.0),
    (10, 1.0, 2.0),
    (60, 2.0, 1.0),
    (60, 1.0, 2.0),
];

const K1: [f64; 7] = [0.4, 0.6, 0.9, 1.2, 1.6, 2.0, 3.0];

const B: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.75, 0.9];

/// Weights of the fields around the text.
const WEIGHTS: [f64; 9] = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0];

/// Weights of the best other passage of a document.
const SIBLINGS: [f32; 5] = [0.0, 0.05, 0.1, 0.2, 0.3];

/// Shares by which the first chunks of documents are raised.
const LEAD: [f32; 7] = [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3];

/// A setting that is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knob {
    Fusion,
    Siblings,
    Lead,
    K1,
    B,
    Weight(PassageField),
}

/// Everything that a new generation is not needed for.
pub(crate) const QUERY_KNOBS: [Knob; 3] = [Knob::Fusion, Knob::Lead, Knob::Siblings];

/// All settings of the lab.
pub(crate) const ALL_KNOBS: [Knob; 8] = [
    Knob::Fusion,
    Knob::Lead,
    Knob::Siblings,
    Knob::Weight(PassageField::Headings),
    Knob::Weight(PassageField::Title),
    Knob::Weight(PassageField::Path),
    Knob::K1,
    Knob::B,
];

/// Settings with their scores on the questions of the fit.
#[derive(Clone)]
pub(crate) struct Trial {
    pub(crate) settings: LabSettings,
    /// nDCG@10 of each question.
    pub(crate) sample: Vec<f64>,
}

impl Trial {
    fn new(settings: LabSettings, scores: &[Scores]) -> Self {
        let ndcg = MEASURES[0];
        Self { settings, sample: scores.iter().map(|it| ndcg.score(it)).collect() }
    }

    pub(crate) fn mean(&self) -> f64 {
        mean(&self.sample)
    }
}

/// The settings chosen on these questions, and the number of those that were tried.
pub(crate) fn fit(
    lab: &Lab,
    start: &LabSettings,
    knobs: &[Knob],
    questions: &[usize],
) -> (Trial, usize) {
    let evaluate =
        |settings: &LabSettings| Trial::new(settings.clone(), &lab.evaluate(settings, questions));
    let mut trials = vec![evaluate(start)];
    let mut current = 0;
    for _ in 0..ROUNDS {
        let before = current;
        for knob in knobs {
            for settings in variants(*knob, &trials[current].settings) {
                let at = trials.iter().position(|trial| trial.settings == settings);
                let at = at.unwrap_or_else(|| {
                    trials.push(evaluate(&settings));
                    trials.len() - 1
                });
                // A tie keeps what is there.
                if trials[at].mean() > trials[current].mean() + 1e-9 {
                    current = at;
                }
            }
        }
        if current == before {
            break;
        }
    }
    let tried = trials.len();
    (simplest(trials, start), tried)
}

/// The settings that differ from `settings` in one value.
fn variants(knob: Knob, settings: &LabSettings) -> Vec<LabSettings> {
    let with_search = |search| LabSettings { search, ..settings.clone() };
    let search = || settings.search.clone();
    let with = |change: &dyn Fn(&mut pipeline::Bm25fParameters)| {
        let mut parameters = settings.parameters?;
        change(&mut parameters);
        Some(LabSettings { parameters: Some(parameters), ..settings.clone() })
    };
    match knob {
        Knob::Fusion => {
            let convex = DENSE.map(|dense| Fusion::Convex { dense });
            let rrf = RRF.map(|(k, dense, sparse)| Fusion::Rrf { k, dense, sparse });
            let all = convex.into_iter().chain(rrf);
            all.map(|fusion| with_search(SearchSettings { fusion, ..search() })).collect()
        }
        Knob::Siblings => {
            let set = |siblings| with_search(SearchSettings { siblings, ..search() });
            SIBLINGS.into_iter().map(set).collect()
        }
        Knob::Lead => {
            let set = |lead| with_search(SearchSettings { lead, ..search() });
            LEAD.into_iter().map(set).collect()
        }
        Knob::K1 => K1.into_iter().filter_map(|k1| with(&|it| it.k1 = k1)).collect(),
        Knob::B => {
            let text = PassageField::Text as usize;
            B.into_iter().filter_map(|b| with(&|it| it.fields[text].b = b)).collect()
        }
        Knob::Weight(field) => {
            let set = |weight| with(&|it| it.fields[field as usize].weight = weight);
            WEIGHTS.into_iter().filter_map(set).collect()
        }
    }
}

/// How far settings are from those in use: each changed value counts, and more if it is far away. A
/// value that needs a new generation counts more than one that applies to the next search.
pub(crate) fn distance(settings: &LabSettings, start: &LabSettings) -> f64 {
    let mut distance = match (settings.search.fusion, start.search.fusion) {
        (a, b) if a == b => 0.0,
        (Fusion::Convex { dense: a }, Fusion::Convex { dense: b }) => {
            1.0 + f64::from((a - b).abs())
        }
        (Fusion::Rrf { .. }, Fusion::Rrf { .. }) => 1.5,
        (Fusion::Convex { .. }, Fusion::Rrf { .. })
        | (Fusion::Rrf { .. }, Fusion::Convex { .. }) => 2.0,
    };
    let mut add = |new: f64, old: f64, scale: f64| {
        if (new - old).abs() > 1e-6 {
            distance += 1.0 + (new - old).abs() / scale;
        }
    };
    add(settings.search.siblings.into(), start.search.siblings.into(), 1.0);
    add(settings.search.lead.into(), start.search.lead.into(), 1.0);
    let (Some(new), Some(old)) = (&settings.parameters, &start.parameters) else {
        return distance;
    };
    if new != old {
        add(1.0, 0.0, f64::INFINITY);
    }
    add(new.k1, old.k1, 5.0);
    for (new, old) in new.fields.iter().zip(&old.fields) {
        add(new.b, old.b, 5.0);
        add(new.weight, old.weight, 20.0);
    }
    distance
}

/// The trial nearest to the settings in use among those that are at most one standard error of the
/// paired difference worse than the best one.
fn simplest(trials: Vec<Trial>, start: &LabSettings) -> Trial {
    let best = trials.iter().max_by(|a, b| a.mean().total_cmp(&b.mean())).cloned();
    let best = best.expect("the settings in use are among the trials");
    let is_close = |trial: &Trial| {
        let differences: Vec<f64> =
            best.sample.iter().zip(&trial.sample).map(|(a, b)| a - b).collect();
        mean(&differences) <= standard_error(&differences)
    };
    let key = |trial: &Trial| (distance(&trial.settings, start), -trial.mean());
    let close = trials.into_iter().filter(is_close);
    let nearest = close.min_by(|a, b| {
        let ((a_distance, a_mean), (b_distance, b_mean)) = (key(a), key(b));
        a_distance.total_cmp(&b_distance).then(a_mean.total_cmp(&b_mean))
    });
    nearest.unwrap_or(best)
}

pub(crate) fn mean(sample: &[f64]) -> f64 {
    if sample.is_empty() { 0.0 } else { sample.iter().sum::<f64>() / count(sample) }
}

/// Standard error of the mean.
pub(crate) fn standard_error(sample: &[f64]) -> f64 {
    if sample.len() < 2 {
        return f64::INFINITY;
    }
    let mean = mean(sample);
    let squares: f64 = sample.iter().map(|it| (it - mean).powi(2)).sum();
    (squares / (count(sample) - 1.0) / count(sample)).sqrt()
}

#[expect(clippy::cast_precision_loss, reason = "questions are few")]
fn count(sample: &[f64]) -> f64 {
    sample.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dense: f32, parameters: Option<pipeline::Bm25fParameters>) -> LabSettings {
        let fusion = Fusion::Convex { dense };
        LabSettings { parameters, search: SearchSettings { fusion, ..SearchSettings::default() } }
    }

    fn trial(dense: f32, sample: &[f64]) -> Trial {
        Trial { settings: settings(dense, None), sample: sample.to_vec() }
    }

    #[test]
    fn the_nearest_settings_win_unless_others_are_clearly_better() {
        let start = trial(0.7, &[0.5, 0.5, 0.5, 0.5]);
        let noisy = trial(0.9, &[0.9, 0.4, 0.6, 0.3]);
        let chosen = simplest(vec![start.clone(), noisy], &start.settings);
        assert_eq!(chosen.settings, start.settings, "one question decides");
        let clear = trial(0.9, &[0.6, 0.61, 0.6, 0.59]);
        let near = trial(0.8, &[0.6, 0.6, 0.6, 0.6]);
        let chosen = simplest(vec![start.clone(), clear, near.clone()], &start.settings);
        assert_eq!(chosen.settings, near.settings, "as good, and nearer");
    }

    #[test]
    fn a_change_that_needs_a_new_generation_is_farther() {
        let field = pipeline::FieldParameters { weight: 1.0, b: 0.75, average_length: 180.0 };
        let parameters = pipeline::Bm25fParameters { k1: 1.2, fields: [field; 4] };
        let start = settings(0.7, Some(parameters));
        let fusion = settings(0.4, Some(parameters));
        let k1 = pipeline::Bm25fParameters { k1: 0.9, ..parameters };
        let k1 = settings(0.7, Some(k1));
        assert_eq!(distance(&start, &start), 0.0);
        assert!(distance(&fusion, &start) < distance(&k1, &start));
    }
}
