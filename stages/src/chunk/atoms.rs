//! The atoms of a text: words, as far as the model or white space tells, with what stands before each.

use pipeline::Tokens;

use crate::chunk::Heading;

/// A piece of text that is not cut, unless it is longer than a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atom {
    /// First byte.
    pub(super) start: usize,
    /// The byte behind it, white space left out.
    pub(super) end: usize,
    /// Tokens before it.
    pub(super) token: usize,
    /// Tokens before its end.
    pub(super) token_end: usize,
    /// Characters before it.
    pub(super) character: usize,
    /// Characters before its end.
    pub(super) character_end: usize,
    /// How good a place its beginning is to cut at.
    pub(super) before: Cut,
}

/// How good a place is to cut at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// Between words.
    Word,
    /// Between lines that may be parts of one sentence, of a table or of code.
    SoftLine,
    /// Behind a sentence.
    Sentence,
    /// Behind a sentence at the end of a line.
    Line,
    /// At an empty line.
    Paragraph,
    /// In front of a heading.
    Heading,
}

/// The atoms of a text. Together they hold every character that is not white space.
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
    /// Whether the text is in a block of code, where it matters.
    fence: Option<Fence>,
    /// A place in the text in bytes, and in characters.
    characters: (usize, usize),
}

impl<H: Iterator<Item = usize>> Builder<'_, H> {
    /// An atom for each run of tokens that cannot be cut.
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

    /// An atom for each word between white space; scripts that have none between words are cut between
    /// any two characters.
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

    /// Begins an atom; the text before it that is more than white space ends at `end` or behind it.
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

    /// Ends each atom where the next one begins, without the white space between them.
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

/// How good a place a gap in the text is to cut at.
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

/// Whether words of the script have no white space between them.
fn is_ideograph(char: char) -> bool {
    matches!(u32::from(char), 0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30ff | 0x3400..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

/// Follows blocks of code and tables in Markdown, which are kept whole where they fit.
#[derive(Default)]
struct Fence {
    /// The sign that ends the block of code, while in one.
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
