//! Maps text to a model's token ids, by the folder's `tokenizer.json`.
//!
//! Uses the `tokenizers` crate. Truncation and padding of the file are disabled: the chunker splits
//! long texts, and the batcher avoids padding. [`Tokenizer::add_special_tokens`] adds special
//! tokens and the document prompt to ids, so that a text is encoded once and any range of its ids
//! can be framed. A query is encoded together with its prompt.

use std::ops::Range;
use std::path::Path;

use fs_err as fs;
use pipeline::{BoxError, EncodedInput, TextKind, TokenizedText, Tokenizer};
use serde_json::Value;
use tokenizers::{Model as _, OffsetType, PreTokenizer as _};

use crate::pair_tokenizer::PairTemplate;
use crate::prompts::Prompts;
use crate::split_points::{SEGMENT_BYTES, SplitPoints, SplitRule};

/// A tokenizer with the prompts and special tokens of its model.
pub(crate) struct FolderTokenizer {
    inner: tokenizers::Tokenizer,
    split_points: SplitPoints,
    /// The id of every word that is too long for the vocabulary; `None` if the tokenizer has no
    /// such rule.
    long_word_id: Option<u32>,
    /// Special tokens only.
    special_template: InputTemplate,
    /// Special tokens and the document prompt.
    document_template: InputTemplate,
    prompts: Prompts,
    max_tokens: usize,
}

/// Ids before and after those of a text.
#[derive(Default)]
struct InputTemplate {
    prefix: Vec<u32>,
    suffix: Vec<u32>,
}

impl InputTemplate {
    fn wrap(&self, ids: &[u32]) -> Vec<u32> {
        [&self.prefix, ids, &self.suffix].concat()
    }

    fn num_tokens(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }
}

/// Errors of [`FolderTokenizer::read`].
#[derive(Debug, thiserror::Error)]
enum TokenizerError {
    #[error("invalid tokenizer `{0}`: copy or fetch the model again")]
    Malformed(String, #[source] BoxError),
    #[error("unsupported prompt `{0}`: it merges with the first token of a text")]
    Prefix(String),
    #[error("unsupported tokenizer: it puts no special token between the texts of a pair")]
    NoPairs,
    #[error("unsupported tokenizer: it assigns token types in another way than BERT")]
    TokenTypes,
}

impl FolderTokenizer {
    /// Loads the tokenizer of a model folder.
    ///
    /// # Errors
    /// If it cannot be parsed, or if the document prompt merges with the first token of a text.
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
            long_word_id: long_word_id(&json, &inner),
            split_points: SplitPoints::from_tokenizer(&json),
            inner,
            special_template: InputTemplate::default(),
            document_template: InputTemplate::default(),
            prompts: prompts.clone(),
            max_tokens,
        };
        tokenizer.special_template = tokenizer.read_special_template()?;
        let mut head = tokenizer.special_template.prefix.clone();
        head.extend(tokenizer.prefix_ids(&prompts.document)?);
        tokenizer.document_template =
            InputTemplate { prefix: head, suffix: tokenizer.special_template.suffix.clone() };
        Ok(tokenizer)
    }

    /// The special tokens that the post-processor adds around a probe text.
    fn read_special_template(&self) -> Result<InputTemplate, BoxError> {
        let probe = self.inner.encode("a", true)?;
        let special = probe.get_special_tokens_mask();
        let front = special.iter().take_while(|&&special| special == 1).count();
        let behind = special.iter().rev().take_while(|&&special| special == 1).count();
        let ids = probe.get_ids();
        Ok(InputTemplate {
            prefix: ids[..front].to_vec(),
            suffix: ids[ids.len() - behind..].to_vec(),
        })
    }

    /// The special tokens that the post-processor adds to a probe pair.
    ///
    /// # Errors
    /// If it puts none between the texts, or its token types, for a model that has them, are not
    /// those of BERT.
    pub(crate) fn pair_template(&self, has_token_types: bool) -> Result<PairTemplate, BoxError> {
        let probe = self.inner.encode(("a", "a"), true)?;
        let (ids, types, texts) = (probe.get_ids(), probe.get_type_ids(), probe.get_sequence_ids());
        let of = |text| {
            let first = texts.iter().position(|it| *it == Some(text));
            let last = texts.iter().rposition(|it| *it == Some(text));
            first.zip(last).ok_or(TokenizerError::NoPairs)
        };
        let ((front, first_end), (second, last)) = (of(0)?, of(1)?);
        if second <= first_end + 1 {
            return Err(TokenizerError::NoPairs.into());
        }
        let has_types = has_token_types && types.contains(&1);
        let expected = |at: usize| u32::from(has_types && at > first_end + 1);
        if has_types && types.iter().enumerate().any(|(at, &found)| found != expected(at)) {
            return Err(TokenizerError::TokenTypes.into());
        }
        Ok(PairTemplate {
            prefix: ids[..front].to_vec(),
            middle: ids[first_end + 1..second].to_vec(),
            suffix: ids[last + 1..].to_vec(),
            has_types,
        })
    }

    /// The ids of a document prompt. Some tokenizers attach its trailing space to the following
    /// text, so both variants are compared on a probe. The probe is valid for every text only if a
    /// split before it is safe.
    fn prefix_ids(&self, prefix: &str) -> Result<Vec<u32>, BoxError> {
        if prefix.is_empty() {
            return Ok(Vec::new());
        }
        let whole = self.encode(&format!("{prefix}a"))?;
        let text = self.encode("a")?.ids;
        for candidate in [prefix.trim_end(), prefix] {
            let ids = self.encode(candidate)?.ids;
            let may_cut = whole.can_split_before.get(ids.len()) == Some(&true);
            if may_cut && whole.ids == [&ids[..], &text].concat() {
                return Ok(ids);
            }
        }
        Err(TokenizerError::Prefix(prefix.to_owned()).into())
    }

    /// Encodes `text[at..end]`, a segment of the text.
    fn encode_segment(
        &self,
        text: &str,
        at: usize,
        end: usize,
        to: &mut TokenizedText,
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
            to.can_split_before.push(begins && self.split_points.can_split_at(text, at + start));
            to.offsets.push(at + start..at + end);
        }
        extend_over_absorbed(text, end, &mut to.offsets[first..]);
        Ok(())
    }
}

impl Tokenizer for FolderTokenizer {
    fn encode(&self, text: &str) -> Result<TokenizedText, BoxError> {
        let mut tokens = TokenizedText::default();
        let mut at = 0;
        while at < text.len() {
            if let Some(id) = self.long_word_id
                && let Some(end) = long_word_end(text, at)
            {
                tokens.ids.push(id);
                tokens.offsets.push(at..end);
                tokens.can_split_before.push(true);
                at = end;
                continue;
            }
            let end = self.split_points.segment_end(text, at);
            self.encode_segment(text, at, end, &mut tokens)?;
            at = end;
        }
        Ok(tokens)
    }

    fn add_special_tokens(&self, ids: &[u32]) -> Vec<u32> {
        self.document_template.wrap(ids)
    }

    fn num_added_tokens(&self) -> usize {
        self.document_template.num_tokens()
    }

    fn encode_input(&self, text: &str, kind: TextKind) -> Result<EncodedInput, BoxError> {
        let prefix = self.prompts.prefix(kind);
        let mut ids = if prefix.is_empty() {
            self.encode(text)?.ids
        } else {
            self.encode(&format!("{prefix}{text}"))?.ids
        };
        let room = self.max_tokens.saturating_sub(self.special_template.num_tokens());
        let cut = ids.len() > room;
        ids.truncate(room);
        Ok(EncodedInput { ids: self.special_template.wrap(&ids), truncated: cut })
    }

    fn max_tokens(&self) -> usize {
        self.max_tokens
    }
}

/// Extends each span over following characters without a token: an accent that normalisation
/// removed or composed with the preceding letter. So the text of a span contains all characters of
/// its ids.
fn extend_over_absorbed(text: &str, end: usize, spans: &mut [Range<usize>]) {
    let mut next = end;
    for span in spans.iter_mut().rev() {
        let from = text.ceil_char_boundary(span.end);
        if let Some(gap) = text.get(from..next) {
            span.end = from + gap.find(char::is_whitespace).unwrap_or(gap.len());
        }
        next = span.start;
    }
}

/// WordPiece maps every word of more than a hundred characters to the unknown token.
fn long_word_id(json: &Value, inner: &tokenizers::Tokenizer) -> Option<u32> {
    let model = &json["model"];
    let longest = model["max_input_chars_per_word"].as_u64().unwrap_or(100);
    let added = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    // An added token of only letters and digits could match inside the word.
    let plain = |token: &Value| {
        token["content"]
            .as_str()
            .is_none_or(|content| content.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    let simple = model["type"] == "WordPiece"
        && longest < SEGMENT_BYTES as u64
        && SplitPoints::from_tokenizer(json).rule() == SplitRule::Words
        && !added.iter().any(plain);
    if !simple {
        return None;
    }
    inner.get_model().token_to_id(model["unk_token"].as_str()?)
}

/// End of the word at `at` if it consists of ASCII letters and digits and is longer than a segment,
/// such as Base64 and hexadecimal dumps; the `tokenizers` crate would need gigabytes for them.
fn long_word_end(text: &str, at: usize) -> Option<usize> {
    let bytes = &text.as_bytes()[at..];
    let length = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let ends = bytes
        .get(length)
        .is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_punctuation());
    (length >= SEGMENT_BYTES && ends).then_some(at + length)
}
