//! Embeds queries: each one once, and queries that arrive while the model is busy in one batch.
//!
//! The request that holds the lock of the model embeds all queries that have arrived; the others
//! wait for its result. A model embeds several short queries in little more than the time of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use pipeline::lock;
use tokio::sync::oneshot;

use crate::blocking::catch_blocking;
use crate::caches::SearchCaches;
use crate::target::QueryModel;

/// The vector of a query, or the error message.
type EmbedResult = Result<Arc<Vec<f32>>, String>;

/// The queues of all models, by fingerprint.
#[derive(Default)]
pub(crate) struct QueryBatcher {
    queues: Mutex<HashMap<String, Arc<ModelQueue>>>,
}

/// The queue of one model.
#[derive(Default)]
struct ModelQueue {
    /// Held by the request that calls the model.
    batch_lock: tokio::sync::Mutex<()>,
    waiting: Mutex<Vec<(String, oneshot::Sender<EmbedResult>)>>,
}

impl QueryBatcher {
    /// The vector of a query by this model.
    ///
    /// # Errors
    /// A message if the model cannot be loaded or fails.
    pub(crate) async fn query_vector(
        &self,
        model: &QueryModel,
        question: &str,
        caches: &SearchCaches,
    ) -> EmbedResult {
        let name = &model.info.fingerprint;
        if let Some(known) = caches.query_vector(name, question) {
            return Ok(known);
        }
        let line = Arc::clone(lock(&self.queues).entry(name.clone()).or_default());
        let (answer, mut answered) = oneshot::channel();
        lock(&line.waiting).push((question.to_owned(), answer));
        let turn = line.batch_lock.lock().await;
        if let Ok(embedded) = answered.try_recv() {
            return embedded;
        }
        let mut all = std::mem::take(&mut *lock(&line.waiting));
        if all.iter().all(|(text, _)| text != question) {
            // The request that had taken this query was dropped, together with its batch.
            all.push((question.to_owned(), oneshot::channel().0));
        }
        let texts: Vec<String> = all.iter().map(|(text, _)| text.clone()).collect();
        let embedded = embed_batch(model.clone(), texts.clone()).await;
        let of = |text: &str| {
            let at = texts.iter().position(|it| it == text).expect("the text is in the batch");
            embedded.as_ref().map(|vectors| Arc::clone(&vectors[at])).map_err(Clone::clone)
        };
        // Requests for the same queries that arrived in between need no batch of their own.
        let mut waiting = lock(&line.waiting);
        let (answered, others): (Vec<_>, Vec<_>) = std::mem::take(&mut *waiting)
            .into_iter()
            .chain(all)
            .partition(|(text, _)| texts.contains(text));
        *waiting = others;
        drop(waiting);
        for (text, answer) in answered {
            let embedded = of(&text);
            if let Ok(vector) = &embedded {
                caches.insert_query_vector(name, &text, vector);
            }
            // The receiver may have been dropped.
            drop(answer.send(embedded));
        }
        drop(turn);
        of(question)
    }
}

/// Calls the model on a blocking thread.
async fn embed_batch(
    model: QueryModel,
    questions: Vec<String>,
) -> Result<Vec<Arc<Vec<f32>>>, String> {
    let count = questions.len();
    let embedded = catch_blocking(move || model.embed(&questions)).await;
    let vectors = embedded
        .map_err(|error| format!("the model panicked: {error}"))?
        .map_err(|error| pipeline::error_chain(error.as_ref()))?;
    if vectors.len() != count {
        return Err(format!("the model returned {} vectors for {count} queries", vectors.len()));
    }
    Ok(vectors.into_iter().map(Arc::new).collect())
}
