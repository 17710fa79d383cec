//! Text to the ids that a model reads, by the folder's `tokenizer.json`.
//!
//! The vocabulary and everything around it is the `tokenizers` crate's. Truncation and padding that the
//! file may ask for are switched off: what is too long is for the chunker to cut, and padding is for the
//! batcher to avoid. Special tokens and a passage's prefix are put around ids in [`Tokenizer::frame`], so that a
//! text is encoded once, and any run of its ids can be framed. A question is encoded with its prefix.

use std::ops::Range;
use std::path::Path;

use fs_err as fs;
use pipeline::{BoxError, Reading, TextKind, Tokenizer, Tokens};
use serde_json::Value;
use tokenizers::{Model as _, OffsetType, PreTokenizer as _};

use crate::cuts::{Cuts, Rule, SEGMENT};
use crate::prompts::Prompts;

/// A tokenizer with the frame of its model.
pub(crate) struct FolderTokenizer {
    inner: tokenizers::Tokenizer,
    cuts: Cuts,
    /// The id of a word that is too long to be looked up, where every long word has it.
    long_word: Option<u32>,
    /// Special tokens alone.
    special: Frame,
    /// Special tokens and the prefix of a passage.
    document: Frame,
    prompts: Prompts,
    max_tokens: usize,
}

/// What is put around the ids of a text.
#[derive(Default)]
struct Frame {
    head: Vec<u32>,
    tail: Vec<u32>,
}

impl Frame {
    fn around(&self, ids: &[u32]) -> Vec<u32> {
        [&self.head, ids, &self.tail].concat()
    }

    fn size(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
enum TokenizerError {
    #[error("`{0}` is not a tokenizer that can be read; copy or fetch the model again")]
    Malformed(String, #[source] BoxError),
    #[error("the prefix `{0}` cannot be put in front of a text that was encoded without it")]
    Prefix(String),
}

impl FolderTokenizer {
    /// Reads the tokenizer of a model's folder.
    ///
    /// # Errors
    /// If it cannot be read, or if the prefix of passages is one word with their beginning.
    pub(crate) fn read(
        folder: &Path,
        prompts: &Prompts,
        max_tokens: usize,
    ) -> Result<Self, BoxError> {
        let file = folder.join("tokenizer.json");
        let bytes = fs::read(&file)?;
        let malformed = |cause| TokenizerError::Malformed(file.display().to_string(), cause);
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes).map_err(malformed)?;
        let json: Value =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.into()))?;
        inner.with_padding(None);
        inner.with_truncation(None)?;

        let mut tokenizer = Self {
            long_word: long_word(&json, &inner),
            cuts: Cuts::of(&json),
            inner,
            special: Frame::default(),
            document: Frame::default(),
            prompts: prompts.clone(),
            max_tokens,
        };
        tokenizer.special = tokenizer.special()?;
        let mut head = tokenizer.special.head.clone();
        head.extend(tokenizer.prefix_ids(&prompts.document)?);
        tokenizer.document = Frame { head, tail: tokenizer.special.tail.clone() };
        Ok(tokenizer)
    }

    /// The special tokens in front and behind, as the post-processor puts them around a probe.
    fn special(&self) -> Result<Frame, BoxError> {
        let probe = self.inner.encode("a", true)?;
        let special = probe.get_special_tokens_mask();
        let front = special.iter().take_while(|&&special| special == 1).count();
        let behind = special.iter().rev().take_while(|&&special| special == 1).count();
        let ids = probe.get_ids();
        Ok(Frame { head: ids[..front].to_vec(), tail: ids[ids.len() - behind..].to_vec() })
    }

    /// The ids of a prefix of passages. The space at its end belongs to the text behind it with some tokenizers, so
    /// both ways are tried on a probe. The probe speaks for every text only if one may cut in front of it.
    fn prefix_ids(&self, prefix: &str) -> Result<Vec<u32>, BoxError> {
        if prefix.is_empty() {
            return Ok(Vec::new());
        }
        let whole = self.encode(&format!("{prefix}a"))?;
        let text = self.encode("a")?.ids;
        for candidate in [prefix.trim_end(), prefix] {
            let ids = self.encode(candidate)?.ids;
            let may_cut = whole.may_cut.get(ids.len()) == Some(&true);
            if may_cut && whole.ids == [&ids[..], &text].concat() {
                return Ok(ids);
            }
        }
        Err(TokenizerError::Prefix(prefix.to_owned()).into())
    }

    /// Encodes `text[at..end]`, which is a segment of the text.
    fn encode_segment(
        &self,
        text: &str,
        at: usize,
        end: usize,
        to: &mut Tokens,
    ) -> Result<(), BoxError> {
        let inner = &self.inner;
        let vocabulary = inner.get_added_vocabulary();
        let mut pieces = vocabulary.extract_and_normalize(inner.get_normalizer(), &text[at..end]);
        if let Some(words) = inner.get_pre_tokenizer() {
            words.pre_tokenize(&mut pieces)?;
        }
        pieces.tokenize(|piece| inner.get_model().tokenize(piece.get()))?;
        let encoding = pieces.into_encoding(None, 0, OffsetType::Byte)?;

        let first = to.ids.len();
        to.ids.extend_from_slice(encoding.get_ids());
        let mut word = None;
        for (&(start, end), &of) in encoding.get_offsets().iter().zip(encoding.get_word_ids()) {
            let begins = of != word;
            word = of;
            to.may_cut.push(begins && self.cuts.at_word(text, at + start));
            to.spans.push(at + start..at + end);
        }
        include_what_was_absorbed(text, end, &mut to.spans[first..]);
        Ok(())
    }
}

impl Tokenizer for FolderTokenizer {
    fn encode(&self, text: &str) -> Result<Tokens, BoxError> {
        let mut tokens = Tokens::default();
        let mut at = 0;
        while at < text.len() {
            if let Some(id) = self.long_word
                && let Some(end) = long_word_end(text, at)
            {
                tokens.ids.push(id);
                tokens.spans.push(at..end);
                tokens.may_cut.push(true);
                at = end;
                continue;
            }
            let end = self.cuts.segment_end(text, at);
            self.encode_segment(text, at, end, &mut tokens)?;
            at = end;
        }
        Ok(tokens)
    }

    fn frame(&self, ids: &[u32]) -> Vec<u32> {
        self.document.around(ids)
    }

    fn overhead(&self) -> usize {
        self.document.size()
    }

    fn read(&self, text: &str, kind: TextKind) -> Result<Reading, BoxError> {
        let prefix = self.prompts.of(kind);
        let mut ids = if prefix.is_empty() {
            self.encode(text)?.ids
        } else {
            self.encode(&format!("{prefix}{text}"))?.ids
        };
        let room = self.max_tokens.saturating_sub(self.special.size());
        let cut = ids.len() > room;
        ids.truncate(room);
        Ok(Reading { ids: self.special.around(&ids), cut })
    }

    fn max_tokens(&self) -> usize {
        self.max_tokens
    }
}

/// Lengthens each span over the letters behind it that no token stands for: an accent that normalisation took
/// off, or that was composed with the letter in front. So a span's text has all that made its ids.
fn include_what_was_absorbed(text: &str, end: usize, spans: &mut [Range<usize>]) {
    let mut next = end;
    for span in spans.iter_mut().rev() {
        let from = text.ceil_char_boundary(span.end);
        if let Some(gap) = text.get(from..next) {
            span.end = from + gap.find(char::is_whitespace).unwrap_or(gap.len());
        }
        next = span.start;
    }
}

/// WordPiece gives every word of more than a hundred characters the id of the unknown.
fn long_word(json: &Value, inner: &tokenizers::Tokenizer) -> Option<u32> {
    let model = &json["model"];
    let longest = model["max_input_chars_per_word"].as_u64().unwrap_or(100);
    let added = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    // An added token of letters only could be found within the word.
    let plain = |token: &Value| {
        token["content"]
            .as_str()
            .is_none_or(|content| content.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    let simple = model["type"] == "WordPiece"
        && longest < SEGMENT as u64
        && Cuts::of(json).rule() == Rule::Words
        && !added.iter().any(plain);
    if !simple {
        return None;
    }
    inner.get_model().token_to_id(model["unk_token"].as_str()?)
}

/// Where the word ends that begins here, if it is made of ASCII letters and digits and longer than a
/// segment. Base64 and hexadecimal dumps are; worked on by the crate they would take gigabytes.
fn long_word_end(text: &str, at: usize) -> Option<usize> {
    let bytes = &text.as_bytes()[at..];
    let length = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let ends = bytes
        .get(length)
        .is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_punctuation());
    (length >= SEGMENT && ends).then_some(at + length)
}
