//! Measures settings on the held-out questions with the search of the product, which reads the lab
//! in place of the store.

use std::sync::Arc;

use crate::caches::SearchCaches;
use crate::evaluation::{DEPTH, EvaluationError, Scores};
use crate::request::{Request, SearchMode};
use crate::searcher::Searcher;
use crate::settings::SearchSettings;
use crate::target::Target;
use crate::tuning::lab::{CANDIDATES, Lab};
use crate::tuning::view::{LabView, TrialWeights};

/// The lab with the collection that it was read from.
pub(crate) struct Proof {
    pub(crate) lab: Arc<Lab>,
    pub(crate) target: Arc<Target>,
    searcher: Searcher,
}

impl Proof {
    /// `vectors` are those of the questions.
    pub(crate) fn new(lab: Arc<Lab>, target: Arc<Target>, vectors: Vec<Vec<f32>>) -> Self {
        // Hits are not cached: questions see different stores.
        let caches = SearchCaches::new(2 * lab.questions.len() as u64, 0);
        for (question, vector) in lab.questions.iter().zip(vectors) {
            let model = &target.model.info.fingerprint;
            caches.insert_query_vector(model, &question.text, &Arc::new(vector));
        }
        Self { lab, target, searcher: Searcher::new(caches) }
    }

    /// Scores of these questions under some settings.
    ///
    /// # Errors
    /// If a search fails.
    pub(crate) async fn measure(
        &self,
        weights: &Arc<TrialWeights>,
        settings: &SearchSettings,
        mode: SearchMode,
        questions: &[usize],
    ) -> Result<Vec<Scores>, EvaluationError> {
        let mut scores = Vec::with_capacity(questions.len());
        for &question in questions {
            let text = &self.lab.questions[question].text;
            let failed = |error| EvaluationError::QueryFailed { question: text.clone(), error };
            let target = self.target(question, weights, settings);
            let request = Request {
                mode: Some(mode),
                k: DEPTH,
                per_document: Some(1),
                highlight: false,
                candidates: Some(CANDIDATES),
                ..Request::new(text, vec![target.name.clone()])
            };
            let answer = self.searcher.search(&request, &target).await;
            let answer = answer.map_err(|error| failed(error.to_string()))?;
            if let Some(failure) = answer.failed.first() {
                return Err(failed(failure.error.clone()));
            }
            let found =
                answer.hits.iter().filter_map(|hit| self.lab.document(hit.payload.document));
            scores.push(self.lab.score(question, found));
        }
        Ok(scores)
    }

    /// The collection as a question sees it.
    fn target(
        &self,
        question: usize,
        weights: &Arc<TrialWeights>,
        settings: &SearchSettings,
    ) -> Arc<Target> {
        let lab = Arc::clone(&self.lab);
        let view = LabView { lab, question, trial: Arc::clone(weights) };
        Arc::new(Target {
            // Caches must not mix what different questions see.
            store: format!("{} as question {question} sees it", self.target.store),
            index: Arc::new(view),
            // Questions are searched as written, in the lab and here.
            vocabulary: None,
            ..self.target.with_settings(settings.clone())
        })
    }
}
