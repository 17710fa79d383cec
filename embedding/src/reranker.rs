//! A cross-encoder as [`Reranker`]: pairs are scored in waves until the deadline.
//!
//! A wave holds the next passages in the caller's order; within it, pairs are sorted by length and
//! batched like the sequences of an embedder, and divided among the threads. A wave is small, so
//! that a deadline is exceeded by little, and the next one is made only as large as the time left
//! allows at the measured rate.

use std::sync::Mutex;
use std::time::Instant;

use pipeline::{BoxError, Embedder as _, EmbedderUsage, Reranker, RerankerInfo, lock};

use crate::model_threads::ModelHandle;
use crate::pair_tokenizer::PairTokenizer;

/// A loaded cross-encoder.
pub(crate) struct CrossEncoder {
    info: RerankerInfo,
    tokenizer: PairTokenizer,
    model: ModelHandle,
    /// Largest number of tokens in a wave.
    wave_tokens: usize,
    /// Tokens per second of the last wave.
    rate: Mutex<Option<f64>>,
}

impl CrossEncoder {
    pub(crate) fn new(
        info: RerankerInfo,
        tokenizer: PairTokenizer,
        model: ModelHandle,
        wave_tokens: usize,
    ) -> Self {
        Self { info, tokenizer, model, wave_tokens, rate: Mutex::default() }
    }

    /// Tokens that the time until the deadline allows; `None` if it has passed.
    fn room(&self, deadline: Instant) -> Option<usize> {
        let left =
            deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let Some(rate) = *lock(&self.rate) else { return Some(self.wave_tokens) };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is limited below"
        )]
        let fits = (rate * left.as_secs_f64()) as usize;
        Some(fits.min(self.wave_tokens))
    }
}

impl Reranker for CrossEncoder {
    fn info(&self) -> &RerankerInfo {
        &self.info
    }

    fn score(
        &self,
        query: &str,
        passages: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Option<f32>>, BoxError> {
        let query = self.tokenizer.encode_query(query)?;
        let mut scores = Vec::with_capacity(passages.len());
        let mut waiting = passages.iter().peekable();
        while waiting.peek().is_some()
            && let Some(room) = self.room(deadline)
        {
            let started = Instant::now();
            let (mut wave, mut tokens) = (Vec::new(), 0);
            while let Some(passage) = waiting.peek() {
                let pair = self.tokenizer.pair(&query, passage)?;
                // With enough time a wave has at least one pair, as has the first one: otherwise a
                // rate that was measured too low would never be measured again.
                let is_first = wave.is_empty() && (room == self.wave_tokens || scores.is_empty());
                if tokens + pair.len() > room && !is_first {
                    break;
                }
                tokens += pair.len();
                wave.push(pair);
                waiting.next();
            }
            if wave.is_empty() {
                break;
            }
            let pairs: Vec<&[u32]> = wave.iter().map(Vec::as_slice).collect();
            scores.extend(self.model.embed(&pairs)?.into_iter().map(Some));
            let seconds = started.elapsed().as_secs_f64().max(1e-9);
            *lock(&self.rate) = Some(tokens as f64 / seconds);
        }
        scores.resize(passages.len(), None);
        Ok(scores)
    }

    fn usage(&self) -> EmbedderUsage {
        self.model.usage()
    }
}
