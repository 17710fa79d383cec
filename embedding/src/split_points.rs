//! Positions where a text can be split so that its parts, encoded separately, get the same ids as
//! in the whole text.
//!
//! The tokenizer's steps before the vocabulary lookup determine these positions, so the rule is
//! read from `tokenizer.json`. There are three rules; without proof that a split is safe, the text
//! is not split:
//!
//! - **Words** (BERT): text is split at whitespace and around every punctuation mark and Chinese
//!   character, and each part is encoded separately. All earlier steps process single characters,
//!   except that NFD reorders combining marks; so a split before a word is safe unless the word
//!   starts with a mark.
//! - **Spaces** (SentencePiece, byte-level BPE): a space belongs to the following word. A split
//!   before a space that follows a non-space keeps the ids of both sides. A line break is not safe:
//!   in some common patterns punctuation consumes the line breaks after it.
//! - **Never**.
//!
//! Long texts are encoded in segments that end at such positions, because the `tokenizers` crate
//! needs about sixty bytes of memory per byte of text.

use serde_json::Value;
use unicode_normalization::char::is_combining_mark;

/// Length in bytes above which a text is encoded in segments.
pub(crate) const SEGMENT_BYTES: usize = 64 << 10;

/// Positions where a split is safe; see the module doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitRule {
    Words,
    Spaces,
    Never,
}

/// The split rule of a tokenizer.
#[derive(Debug)]
pub(crate) struct SplitPoints {
    rule: SplitRule,
    /// Characters of added tokens (`[SEP]`), which the tokenizer matches in the raw text: no split
    /// is made next to them.
    added_token_chars: String,
}

/// The patterns of GPT-2 and of Qwen's variant of cl100k: in both, a word includes one preceding
/// space.
const SPACE_PATTERNS: &[&str] = &[
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

impl SplitPoints {
    /// Derives the rule from `tokenizer.json`.
    pub(crate) fn from_tokenizer(tokenizer: &Value) -> Self {
        let before = flatten_steps(&tokenizer["normalizer"], "normalizers");
        let split = flatten_steps(&tokenizer["pre_tokenizer"], "pretokenizers");
        let added = tokenizer["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
        // A match of such a token depends on its neighbours.
        let depends = added.iter().any(|token| token["single_word"] == Value::Bool(true));
        let rule = if depends {
            SplitRule::Never
        } else if before.iter().all(|step| is_per_character(step))
            && step_types(&split) == ["BertPreTokenizer"]
        {
            SplitRule::Words
        } else if before.iter().all(|step| is_space_independent(step)) && splits_at_spaces(&split) {
            SplitRule::Spaces
        } else {
            SplitRule::Never
        };
        let reserved = added.iter().filter_map(|token| token["content"].as_str()).collect();
        Self { rule, added_token_chars: reserved }
    }

    pub(crate) fn rule(&self) -> SplitRule {
        self.rule
    }

    /// `true` if a split at this byte is safe, given that the tokenizer starts a word there.
    pub(crate) fn can_split_at(&self, text: &str, at: usize) -> bool {
        if at == 0 {
            return true;
        }
        match self.rule {
            SplitRule::Words => {
                text.get(at..).and_then(first_char).is_some_and(|next| !is_combining_mark(next))
            }
            SplitRule::Spaces => self.precedes_space(text, at),
            SplitRule::Never => false,
        }
    }

    /// The end of the segment that starts at `start`: the last safe position within
    /// [`SEGMENT_BYTES`] bytes, else the first one after them, else the end of the text.
    pub(crate) fn segment_end(&self, text: &str, start: usize) -> usize {
        let near = start + SEGMENT_BYTES;
        if near >= text.len() || self.rule == SplitRule::Never {
            return text.len();
        }
        let safe = |at: &usize| match self.rule {
            SplitRule::Words => self.follows_separator(text, *at),
            SplitRule::Spaces => self.precedes_space(text, *at),
            SplitRule::Never => false,
        };
        let back = (start + 1..=near).rev().find(safe);
        back.or_else(|| (near + 1..text.len()).find(safe)).unwrap_or(text.len())
    }

    /// `true` after a character that is certainly a separator. The tokenizer has more separators
    /// than this test.
    fn follows_separator(&self, text: &str, at: usize) -> bool {
        let (Some(before), Some(behind)) = (text.get(..at), text.get(at..)) else { return false };
        let separator = |c: char| {
            (c.is_ascii_whitespace()
                || c.is_ascii_punctuation()
                || ('\u{4e00}'..='\u{9fff}').contains(&c))
                && !self.added_token_chars.contains(c)
        };
        before.chars().next_back().is_some_and(separator)
            && first_char(behind).is_some_and(|next| !is_combining_mark(next))
    }

    fn precedes_space(&self, text: &str, at: usize) -> bool {
        let (Some(before), Some(behind)) = (text.get(..at), text.get(at..)) else { return false };
        behind.starts_with(' ')
            && !self.added_token_chars.contains(' ')
            && before.chars().next_back().is_some_and(|last| !last.is_whitespace())
    }
}

fn first_char(text: &str) -> Option<char> {
    text.chars().next()
}

/// The steps of a step or of a nested `Sequence`.
fn flatten_steps<'a>(step: &'a Value, inner: &str) -> Vec<&'a Value> {
    if step.is_null() {
        return Vec::new();
    }
    if step["type"] != "Sequence" {
        return vec![step];
    }
    step[inner]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|step| flatten_steps(step, inner))
        .collect()
}

fn step_types<'a>(steps: &[&'a Value]) -> Vec<&'a str> {
    steps.iter().map(|step| step["type"].as_str().unwrap_or_default()).collect()
}

/// `true` if the normalizer processes single characters, apart from the order of combining marks.
fn is_per_character(step: &Value) -> bool {
    matches!(step["type"].as_str(), Some("BertNormalizer" | "Lowercase" | "StripAccents" | "NFD"))
}

/// `true` if the normalizer's result on one side of a space is independent of the other side.
fn is_space_independent(step: &Value) -> bool {
    match step["type"].as_str() {
        Some("NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase" | "Nmt" | "Precompiled") => true,
        Some("Replace") => step["pattern"]["Regex"] == " {2,}" && step["content"] == " ",
        _ => false,
    }
}

fn splits_at_spaces(steps: &[&Value]) -> bool {
    let byte_level = |step: &Value| step["add_prefix_space"] != true && step["use_regex"] != false;
    match step_types(steps)[..] {
        // Without `split`, tokens can contain spaces.
        ["Metaspace"] | ["WhitespaceSplit", "Metaspace"] => {
            let metaspace = steps[steps.len() - 1];
            metaspace["split"] != false
        }
        ["ByteLevel"] => byte_level(steps[0]),
        ["Split", "ByteLevel"] => {
            let pattern = steps[0]["pattern"]["Regex"].as_str().unwrap_or_default();
            SPACE_PATTERNS.contains(&pattern)
                && steps[0]["behavior"] == "Isolated"
                && steps[1]["add_prefix_space"] != true
                && steps[1]["use_regex"] == false
        }
        _ => false,
    }
}
