//! Questions become vectors: each once, and those that come while the model is busy together.
//!
//! Whoever comes first asks the model for all who have come since it was last asked; the others wait for their
//! answer. A model reads several short questions in little more than the time of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::caches::Caches;
use crate::target::Model;

/// The vector of a question, or why there is none.
type Embedded = Result<Arc<Vec<f32>>, String>;

/// Those who wait for each model.
#[derive(Default)]
pub(crate) struct Questions {
    lines: Mutex<HashMap<String, Arc<Line>>>,
}

/// Those who wait for one model.
#[derive(Default)]
struct Line {
    /// Held by whoever asks the model.
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<Vec<(String, oneshot::Sender<Embedded>)>>,
}

impl Questions {
    /// The vector of a question by this model.
    ///
    /// # Errors
    /// If the model cannot be loaded or has failed, in words.
    pub(crate) async fn vector(&self, model: &Model, question: &str, caches: &Caches) -> Embedded {
        let name = &model.info.fingerprint;
        if let Some(known) = caches.question(name, question) {
            return Ok(known);
        }
        let line = Arc::clone(locked(&self.lines).entry(name.clone()).or_default());
        let (answer, mut answered) = oneshot::channel();
        locked(&line.waiting).push((question.to_owned(), answer));
        let turn = line.turn.lock().await;
        if let Ok(embedded) = answered.try_recv() {
            return embedded;
        }
        let mut all = std::mem::take(&mut *locked(&line.waiting));
        if all.iter().all(|(text, _)| text != question) {
            // Whoever had taken it is gone, and has taken it with them.
            all.push((question.to_owned(), oneshot::channel().0));
        }
        let texts: Vec<String> = all.iter().map(|(text, _)| text.clone()).collect();
        let embedded = embed(model.clone(), texts.clone()).await;
        let of = |text: &str| {
            let at = texts.iter().position(|it| it == text).expect("it is one of these questions");
            embedded.as_ref().map(|vectors| Arc::clone(&vectors[at])).map_err(Clone::clone)
        };
        // Who has come meanwhile with one of these questions need not wait for another turn.
        let mut waiting = locked(&line.waiting);
        let (answered, others): (Vec<_>, Vec<_>) = std::mem::take(&mut *waiting)
            .into_iter()
            .chain(all)
            .partition(|(text, _)| texts.contains(text));
        *waiting = others;
        drop(waiting);
        for (text, answer) in answered {
            let embedded = of(&text);
            if let Ok(vector) = &embedded {
                caches.keep_question(name, &text, vector);
            }
            // Somebody who is gone does not want to know.
            drop(answer.send(embedded));
        }
        drop(turn);
        of(question)
    }
}

/// Asks the model on a thread that may wait for it.
async fn embed(model: Model, questions: Vec<String>) -> Result<Vec<Arc<Vec<f32>>>, String> {
    let count = questions.len();
    let asked = tokio::task::spawn_blocking(move || model.embed(&questions)).await;
    let vectors = asked
        .map_err(|error| format!("the model panicked: {error}"))?
        .map_err(|error| pipeline::chain(error.as_ref()))?;
    if vectors.len() != count {
        return Err(format!("the model gave {} vectors for {count} questions", vectors.len()));
    }
    Ok(vectors.into_iter().map(Arc::new).collect())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
