//! Splits a text into atoms: words, delimited by the tokenizer or by white space, each with the
//! break before it.

use pipeline::TokenizedText;

use crate::chunk::text_chunk::SectionHeading;

/// A part of the text that is split only if it is longer than a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atom {
    /// First byte.
    pub(super) start: usize,
    /// The end in bytes, without trailing white space.
    pub(super) end: usize,
    /// Number of tokens before it.
    pub(super) token: usize,
    /// Number of tokens before its end.
    pub(super) token_end: usize,
    /// Number of characters before it.
    pub(super) character: usize,
    /// Number of characters before its end.
    pub(super) character_end: usize,
    /// Number of headings before or at its start.
    pub(super) headings: u32,
    /// The quality of a split before it.
    pub(super) boundary: Boundary,
}

/// The quality of a place for a split, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Boundary {
    /// Between words.
    Word,
    /// Between lines that may belong to one sentence, table or code block.
    SoftLine,
    /// After a sentence.
    Sentence,
    /// After a sentence at the end of a line.
    Line,
    /// At an empty line.
    Paragraph,
    /// Before a heading.
    Heading,
}

/// The atoms of a text, in order. Together they contain every character except white space.
pub(super) fn split(
    text: &str,
    tokens: &TokenizedText,
    headings: &[SectionHeading],
    keep_blocks: bool,
) -> Vec<Atom> {
    let mut builder = AtomBuilder {
        text,
        atoms: Vec::new(),
        headings: headings.iter().map(|heading| heading.at).peekable(),
        headings_before: 0,
        blocks: keep_blocks.then(BlockTracker::default),
        char_cursor: (0, 0),
    };
    if tokens.ids.is_empty() {
        builder.add_words();
    } else {
        builder.add_token_runs(tokens);
    }
    builder.finish(tokens.ids.len())
}

struct AtomBuilder<'a, H: Iterator<Item = usize>> {
    text: &'a str,
    atoms: Vec<Atom>,
    headings: std::iter::Peekable<H>,
    headings_before: u32,
    /// The state of Markdown blocks; `None` if the strategy ignores them.
    blocks: Option<BlockTracker>,
    /// The last counted position, as byte offset and number of characters before it.
    char_cursor: (usize, usize),
}

impl<H: Iterator<Item = usize>> AtomBuilder<'_, H> {
    /// Adds an atom for each run of tokens without a possible split.
    fn add_token_runs(&mut self, tokens: &TokenizedText) {
        // Of a large document these are most of what a run keeps in memory; a vector that grows
        // takes up to twice that.
        self.atoms.reserve_exact(tokens.can_split_before.iter().filter(|may| **may).count() + 1);
        let mut end = 0;
        for (index, span) in tokens.offsets.iter().enumerate() {
            let first = self.atoms.is_empty();
            if first || (tokens.can_split_before[index] && span.start >= end) {
                let start = if first { span.start.min(first_byte(self.text)) } else { span.start };
                self.start_atom(start, end, index);
            }
            end = end.max(span.end);
        }
    }

    /// Adds an atom for each word between white space. Scripts without white space between words
    /// are split between any two characters.
    fn add_words(&mut self) {
        let (mut end, mut before) = (0, ' ');
        for (at, char) in self.text.char_indices() {
            if !char.is_whitespace() {
                if before.is_whitespace()
                    || is_ideograph(char)
                    || is_ideograph(before) && !ends_sentence(char)
                {
                    self.start_atom(at, end, 0);
                }
                end = at + char.len_utf8();
            }
            before = char;
        }
    }

    /// Adds an atom at `start`; `end` is the end of the last token or word before it.
    fn start_atom(&mut self, start: usize, end: usize, token: usize) {
        let character = self.char_count_before(start);
        let gap = &self.text[end..start];
        let mut before = boundary_at(self.text, end, start);
        if let Some(fence) = &mut self.blocks {
            before = fence.adjust(self.text, start, gap, before);
        }
        while self.headings.next_if(|at| *at <= start).is_some() {
            before = Boundary::Heading;
            self.headings_before = self.headings_before.saturating_add(1);
        }
        self.atoms.push(Atom {
            start,
            end: start,
            token,
            token_end: token,
            character,
            character_end: character,
            headings: self.headings_before,
            boundary: before,
        });
    }

    fn char_count_before(&mut self, at: usize) -> usize {
        let (byte, count) = self.char_cursor;
        self.char_cursor = (at, count + self.text[byte..at].chars().count());
        self.char_cursor.1
    }

    /// Ends each atom before the white space in front of the next one.
    fn finish(mut self, tokens: usize) -> Vec<Atom> {
        let text = self.text;
        let mut next = (text.len(), tokens, self.char_count_before(text.len()));
        for atom in self.atoms.iter_mut().rev() {
            let (start, token, character) = next;
            let space = &text[atom.start..start];
            let space = &space[space.trim_end().len()..];
            atom.end = start - space.len();
            atom.character_end = character - space.chars().count();
            atom.token_end = token;
            next = (atom.start, atom.token, atom.character);
        }
        self.atoms
    }
}

fn first_byte(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// The quality of a split at the gap from `end` to `start`.
fn boundary_at(text: &str, end: usize, start: usize) -> Boundary {
    let gap = &text[end..start];
    let lines = gap.bytes().filter(|byte| *byte == b'\n').count();
    if lines > 1 {
        return Boundary::Paragraph;
    }
    let before = text[..end].trim_end_matches(['"', '\'', '”', '’', '»', ')', ']', '」', '』']);
    let last = before.chars().next_back().unwrap_or(' ');
    let is_sentence = ends_sentence(last)
        && (!gap.is_empty() || !last.is_ascii())
        && !text[start..].starts_with(char::is_lowercase);
    match (lines, is_sentence) {
        (0, false) => Boundary::Word,
        (0, true) => Boundary::Sentence,
        (_, false) => Boundary::SoftLine,
        (_, true) => Boundary::Line,
    }
}

fn ends_sentence(char: char) -> bool {
    matches!(char, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '।' | '۔' | '؟')
}

/// `true` for scripts without white space between words.
fn is_ideograph(char: char) -> bool {
    matches!(u32::from(char), 0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30ff | 0x3400..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

/// Tracks code blocks and tables of Markdown, which stay whole where they fit.
#[derive(Default)]
struct BlockTracker {
    /// The fence that ends the current code block; `None` outside of code blocks.
    open_fence: Option<&'static str>,
    in_table: bool,
}

impl BlockTracker {
    fn adjust(&mut self, text: &str, start: usize, gap: &str, cut: Boundary) -> Boundary {
        if start > 0 && !gap.contains('\n') {
            return cut;
        }
        let line = &text[start..];
        if let Some(sign) = self.open_fence {
            if line.starts_with(sign) {
                self.open_fence = None;
            }
            return Boundary::SoftLine;
        }
        self.open_fence = ["```", "~~~"].into_iter().find(|sign| line.starts_with(sign));
        let was_table = std::mem::replace(&mut self.in_table, line.starts_with('|'));
        match (was_table, self.in_table) {
            (true, true) if cut < Boundary::Paragraph => Boundary::SoftLine,
            // A block begins or ends here.
            (was, is) if was != is || self.open_fence.is_some() => Boundary::Paragraph,
            (_, _) => cut,
        }
    }
}
