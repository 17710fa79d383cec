//! A stand-in for a model, for tests of everything but embedding.
//!
//! It is chosen only by its own word, `stand-in:DIM` in place of a folder, and never falls into place by
//! itself. `stand-in:DIM@RATE` reads so many tokens a second and no more, as a device of that speed does. Words are told apart at whitespace and punctuation, an id is a hash of the word, and a text's
//! vector is the sum of pseudo-random vectors of its ids, scaled to length one: texts that share words are
//! similar, the same text always has the same vector, and neither libtorch nor a file is needed.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pipeline::{
    BoxError, Embedder, EmbedderUsage, ModelInfo, Reading, TextKind, Tokenizer, Tokens,
};
use sha2::{Digest, Sha256};

const WORD: &str = "stand-in:";
const MAX_TOKENS: usize = 512;
const LARGEST_DIM: usize = 4096;

/// Ids below this one are special.
const FIRST_ID: u32 = 2;
const BEGIN: u32 = 0;
const END: u32 = 1;

/// The stand-in for a model of this many dimensions.
pub(crate) struct StandIn {
    info: ModelInfo,
    /// Tokens a second.
    rate: Option<u32>,
    /// Held by the call that is computed: there is one device.
    device: Mutex<()>,
    usage: Mutex<EmbedderUsage>,
}

/// Whether a configuration asks for the stand-in; a command should say so to its user.
pub fn is_stand_in(model: &Path) -> bool {
    // A relative path in a pipeline file was made absolute: the word is then its last part.
    model.file_name().is_some_and(|name| name.to_string_lossy().starts_with(WORD))
}

impl StandIn {
    /// The stand-in, if the path asks for it.
    pub(crate) fn asked_for(model: &Path) -> Option<Result<Self, BoxError>> {
        if !is_stand_in(model) {
            return None;
        }
        let name = model.file_name()?.to_string_lossy().into_owned();
        let options = name.strip_prefix(WORD)?;
        let (dim, rate) = match options.split_once('@') {
            Some((dim, rate)) => (dim, Some(rate.parse().ok().filter(|rate| *rate > 0))),
            None => (options, None),
        };
        let dim = dim.parse().ok().filter(|dim| (1..=LARGEST_DIM).contains(dim));
        Some(match dim.filter(|_| rate != Some(None)) {
            Some(dim) => Ok(Self::new(&name, dim, rate.flatten())),
            None => Err(format!("`{name}` is no stand-in; write `{WORD}64`, with a dimension from 1 to {LARGEST_DIM}").into()),
        })
    }

    fn new(name: &str, dim: usize, rate: Option<u32>) -> Self {
        let info = ModelInfo {
            path: name.into(),
            short_name: "standin".to_owned(),
            dim,
            max_tokens: MAX_TOKENS,
            fingerprint: format!("{WORD}{dim} 1"),
        };
        Self { info, rate, device: Mutex::default(), usage: Mutex::default() }
    }
}

impl Tokenizer for StandIn {
    fn encode(&self, text: &str) -> Result<Tokens, BoxError> {
        let mut tokens = Tokens::default();
        let mut start = None;
        let mut push = |from: usize, to: usize| {
            tokens.ids.push(id(&text[from..to]));
            tokens.spans.push(from..to);
            tokens.may_cut.push(true);
        };
        for (at, letter) in text.char_indices() {
            if letter.is_alphanumeric() {
                start.get_or_insert(at);
                continue;
            }
            if let Some(from) = start.take() {
                push(from, at);
            }
            if !letter.is_whitespace() {
                push(at, at + letter.len_utf8());
            }
        }
        if let Some(from) = start {
            push(from, text.len());
        }
        Ok(tokens)
    }

    fn frame(&self, ids: &[u32]) -> Vec<u32> {
        [&[BEGIN], ids, &[END]].concat()
    }

    fn overhead(&self) -> usize {
        2
    }

    fn read(&self, text: &str, _kind: TextKind) -> Result<Reading, BoxError> {
        let mut ids = self.encode(text)?.ids;
        let room = MAX_TOKENS - self.overhead();
        let cut = ids.len() > room;
        ids.truncate(room);
        Ok(Reading { ids: self.frame(&ids), cut })
    }

    fn max_tokens(&self) -> usize {
        MAX_TOKENS
    }
}

impl Embedder for StandIn {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        let _device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        // One at a time where it takes its time, so that it can be watched.
        let batch = if self.rate.is_some() { 1 } else { sequences.len().max(1) };
        for batch in sequences.chunks(batch) {
            let tokens = batch.iter().map(|sequence| sequence.len() as u64).sum::<u64>();
            if let Some(rate) = self.rate {
                std::thread::sleep(Duration::from_secs(tokens) / rate);
            }
            let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
            usage.batches += 1;
            usage.sequences += batch.len() as u64;
            usage.tokens += tokens;
        }
        Ok(sequences.iter().flat_map(|sequence| vector(sequence, self.info.dim)).collect())
    }

    fn usage(&self) -> EmbedderUsage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Equal words have equal ids, whatever their case.
fn id(word: &str) -> u32 {
    let hash = Sha256::digest(word.to_lowercase());
    let number = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
    number.max(FIRST_ID)
}

fn vector(sequence: &[u32], dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dim];
    // A text without words still has a direction.
    let words = sequence.iter().filter(|&&id| id >= FIRST_ID);
    for &id in words.chain(sequence.first().filter(|_| sequence.iter().all(|&id| id < FIRST_ID))) {
        let mut state = u64::from(id);
        for number in &mut sum {
            *number += uniform(&mut state);
        }
    }
    let length =
        sum.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    sum.iter().map(|number| number / length).collect()
}

/// The next number of a SplitMix64 sequence (Steele, Lea, Flood 2014), between -1 and 1.
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}
