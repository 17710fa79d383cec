//! Splits a text into atoms: words, delimited by the tokenizer or by white space, each with the
//! break before it.

use pipeline::Tokens;

use crate::chunk::Heading;

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
    /// The quality of a split before it.
    pub(super) before: Cut,
}

/// The quality of a place for a split, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
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
pub(super) fn of(
    text: &str,
    tokens: &Tokens,
    headings: &[Heading],
    keep_blocks: bool,
) -> Vec<Atom> {
    let mut builder = Builder {
        text,
        atoms: Vec::new(),
        headings: headings.iter().map(|heading| heading.at).peekable(),
        fence: keep_blocks.then(Fence::default),
        characters: (0, 0),
    };
    if tokens.ids.is_empty() {
        builder.words();
    } else {
        builder.words_of(tokens);
    }
    builder.finish(tokens.ids.len())
}

struct Builder<'a, H: Iterator<Item = usize>> {
    text: &'a str,
    atoms: Vec<Atom>,
    headings: std::iter::Peekable<H>,
    /// The state of Markdown blocks; `None` if the strategy ignores them.
    fence: Option<Fence>,
    /// The last counted position, as byte offset and number of characters before it.
    characters: (usize, usize),
}

impl<H: Iterator<Item = usize>> Builder<'_, H> {
    /// Adds an atom for each run of tokens without a possible split.
    fn words_of(&mut self, tokens: &Tokens) {
        // Of a large document these are most of what a run keeps in memory; a vector that grows takes up to twice that.
        self.atoms.reserve_exact(tokens.may_cut.iter().filter(|may| **may).count() + 1);
        let mut end = 0;
        for (index, span) in tokens.spans.iter().enumerate() {
            let first = self.atoms.is_empty();
            if first || (tokens.may_cut[index] && span.start >= end) {
                let start = if first { span.start.min(first_byte(self.text)) } else { span.start };
                self.begin(start, end, index);
            }
            end = end.max(span.end);
        }
    }

    /// Adds an atom for each word between white space. Scripts without white space between words
    /// are split between any two characters.
    fn words(&mut self) {
        let (mut end, mut before) = (0, ' ');
        for (at, char) in self.text.char_indices() {
            if !char.is_whitespace() {
                if before.is_whitespace()
                    || is_ideograph(char)
                    || is_ideograph(before) && !ends_sentence(char)
                {
                    self.begin(at, end, 0);
                }
                end = at + char.len_utf8();
            }
            before = char;
        }
    }

    /// Adds an atom at `start`; `end` is the end of the last token or word before it.
    fn begin(&mut self, start: usize, end: usize, token: usize) {
        let character = self.characters_before(start);
        let gap = &self.text[end..start];
        let mut before = cut_at(self.text, end, start);
        if let Some(fence) = &mut self.fence {
            before = fence.cut(self.text, start, gap, before);
        }
        while self.headings.next_if(|at| *at <= start).is_some() {
            before = Cut::Heading;
        }
        self.atoms.push(Atom {
            start,
            end: start,
            token,
            token_end: token,
            character,
            character_end: character,
            before,
        });
    }

    fn characters_before(&mut self, at: usize) -> usize {
        let (byte, count) = self.characters;
        self.characters = (at, count + self.text[byte..at].chars().count());
        self.characters.1
    }

    /// Ends each atom before the white space in front of the next one.
    fn finish(mut self, tokens: usize) -> Vec<Atom> {
        let text = self.text;
        let mut next = (text.len(), tokens, self.characters_before(text.len()));
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
fn cut_at(text: &str, end: usize, start: usize) -> Cut {
    let gap = &text[end..start];
    let lines = gap.bytes().filter(|byte| *byte == b'\n').count();
    if lines > 1 {
        return Cut::Paragraph;
    }
    let before = text[..end].trim_end_matches(['"', '\'', '”', '’', '»', ')', ']', '」', '』']);
    let last = before.chars().next_back().unwrap_or(' ');
    let is_sentence = ends_sentence(last)
        && (!gap.is_empty() || !last.is_ascii())
        && !text[start..].starts_with(char::is_lowercase);
    match (lines, is_sentence) {
        (0, false) => Cut::Word,
        (0, true) => Cut::Sentence,
        (_, false) => Cut::SoftLine,
        (_, true) => Cut::Line,
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
struct Fence {
    /// The fence that ends the current code block; `None` outside of code blocks.
    open: Option<&'static str>,
    in_table: bool,
}

impl Fence {
    fn cut(&mut self, text: &str, start: usize, gap: &str, cut: Cut) -> Cut {
        if start > 0 && !gap.contains('\n') {
            return cut;
        }
        let line = &text[start..];
        if let Some(sign) = self.open {
            if line.starts_with(sign) {
                self.open = None;
            }
            return Cut::SoftLine;
        }
        self.open = ["```", "~~~"].into_iter().find(|sign| line.starts_with(sign));
        let was_table = std::mem::replace(&mut self.in_table, line.starts_with('|'));
        match (was_table, self.in_table) {
            (true, true) if cut < Cut::Paragraph => Cut::SoftLine,
            // A block begins or ends here.
            (was, is) if was != is || self.open.is_some() => Cut::Paragraph,
            (_, _) => cut,
        }
    }
}
