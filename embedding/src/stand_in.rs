//! A fake model for tests of everything but embedding.
//!
//! It is selected only by `stand-in:DIM` in place of a model folder, never as a fallback.
//! `stand-in:DIM@RATE` processes at most RATE tokens per second, to simulate a device of that
//! speed. Text is split into words at whitespace and punctuation, the id of a word is a hash, and
//! the vector of a text is the sum of pseudo-random vectors of its ids, scaled to length 1: texts
//! with common words are similar, equal texts have equal vectors, and neither libtorch nor a file
//! is needed.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use pipeline::{
    BoxError, Embedder, EmbedderUsage, EncodedInput, ModelInfo, SplitMix64, TextKind,
    TokenizedText, Tokenizer, lock,
};
use sha2::{Digest, Sha256};

const STAND_IN_PREFIX: &str = "stand-in:";
const MAX_TOKENS: usize = 512;
const MAX_DIM: usize = 4096;

/// Smaller ids are special tokens.
const FIRST_WORD_ID: u32 = 2;
const BEGIN: u32 = 0;
const END: u32 = 1;

/// A fake model with vectors of the given dimension.
pub(crate) struct StandInEmbedder {
    info: ModelInfo,
    /// Tokens per second.
    rate: Option<u32>,
    /// Held during a computation: there is one simulated device.
    device: Mutex<()>,
    usage: Mutex<EmbedderUsage>,
}

/// `true` if a path selects the stand-in. Commands should warn the user.
pub fn is_stand_in(model: &Path) -> bool {
    // Relative paths of pipeline files are made absolute, so the selector is the last component.
    model.file_name().is_some_and(|name| name.to_string_lossy().starts_with(STAND_IN_PREFIX))
}

impl StandInEmbedder {
    /// The stand-in; `None` if the path does not select it.
    pub(crate) fn from_path(model: &Path) -> Option<Result<Self, BoxError>> {
        if !is_stand_in(model) {
            return None;
        }
        let name = model.file_name()?.to_string_lossy().into_owned();
        let options = name.strip_prefix(STAND_IN_PREFIX)?;
        let (dim, rate) = match options.split_once('@') {
            Some((dim, rate)) => (dim, Some(rate.parse().ok().filter(|rate| *rate > 0))),
            None => (options, None),
        };
        let dim = dim.parse().ok().filter(|dim| (1..=MAX_DIM).contains(dim));
        Some(match dim.filter(|_| rate != Some(None)) {
            Some(dim) => Ok(Self::new(&name, dim, rate.flatten())),
            None => Err(format!("invalid stand-in `{name}`: expected `{STAND_IN_PREFIX}DIM` with a dimension from 1 to {MAX_DIM}").into()),
        })
    }

    fn new(name: &str, dim: usize, rate: Option<u32>) -> Self {
        let info = ModelInfo {
            path: name.into(),
            short_name: "standin".to_owned(),
            dim,
            max_tokens: MAX_TOKENS,
            fingerprint: format!("{STAND_IN_PREFIX}{dim} 1"),
        };
        Self { info, rate, device: Mutex::default(), usage: Mutex::default() }
    }
}

impl Tokenizer for StandInEmbedder {
    fn encode(&self, text: &str) -> Result<TokenizedText, BoxError> {
        let mut tokens = TokenizedText::default();
        let mut start = None;
        let mut push = |from: usize, to: usize| {
            tokens.ids.push(word_id(&text[from..to]));
            tokens.offsets.push(from..to);
            tokens.can_split_before.push(true);
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

    fn add_special_tokens(&self, ids: &[u32]) -> Vec<u32> {
        [&[BEGIN], ids, &[END]].concat()
    }

    fn num_added_tokens(&self) -> usize {
        2
    }

    fn encode_input(&self, text: &str, _kind: TextKind) -> Result<EncodedInput, BoxError> {
        let mut ids = self.encode(text)?.ids;
        let room = MAX_TOKENS - self.num_added_tokens();
        let cut = ids.len() > room;
        ids.truncate(room);
        Ok(EncodedInput { ids: self.add_special_tokens(&ids), truncated: cut })
    }

    fn max_tokens(&self) -> usize {
        MAX_TOKENS
    }
}

impl Embedder for StandInEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        let _device = lock(&self.device);
        // With a rate, one sequence per batch, so that progress is visible.
        let batch = if self.rate.is_some() { 1 } else { sequences.len().max(1) };
        for batch in sequences.chunks(batch) {
            let tokens = batch.iter().map(|sequence| sequence.len() as u64).sum::<u64>();
            if let Some(rate) = self.rate {
                std::thread::sleep(Duration::from_secs(tokens) / rate);
            }
            let mut usage = lock(&self.usage);
            usage.forward_passes += 1;
            usage.sequences += batch.len() as u64;
            usage.tokens += tokens;
        }
        Ok(sequences.iter().flat_map(|sequence| hash_vector(sequence, self.info.dim)).collect())
    }

    fn usage(&self) -> EmbedderUsage {
        *lock(&self.usage)
    }
}

/// Equal words have equal ids, ignoring case.
fn word_id(word: &str) -> u32 {
    let hash = Sha256::digest(word.to_lowercase());
    let number = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
    number.max(FIRST_WORD_ID)
}

fn hash_vector(sequence: &[u32], dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dim];
    // A text without words still needs a non-zero vector.
    let words = sequence.iter().filter(|&&id| id >= FIRST_WORD_ID);
    for &id in
        words.chain(sequence.first().filter(|_| sequence.iter().all(|&id| id < FIRST_WORD_ID)))
    {
        let mut random = SplitMix64::new(id.into());
        for number in &mut sum {
            *number += next_uniform(&mut random);
        }
    }
    let length =
        sum.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    sum.iter().map(|number| number / length).collect()
}

/// The next number, between -1 and 1.
fn next_uniform(random: &mut SplitMix64) -> f32 {
    (random.next_u64() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}
