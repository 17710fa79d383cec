//! Converts windows of atoms to chunks: text ranges with token ids.

use std::ops::Range;

use pipeline::{BoxError, TokenizedText, Tokenizer};

use crate::chunk::atoms::Atom;
use crate::chunk::text_chunk::TextChunk;
use crate::chunk::windows::DocumentLimits;

pub(super) struct ChunkBuilder<'a> {
    pub(super) text: &'a str,
    pub(super) atoms: &'a [Atom],
    pub(super) tokens: &'a TokenizedText,
    pub(super) limits: DocumentLimits<'a>,
}

impl ChunkBuilder<'_> {
    /// Adds the chunk of a window, or several chunks if its only atom is longer than one chunk.
    pub(super) fn build(
        &self,
        window: Range<usize>,
        tokenizer: Option<&dyn Tokenizer>,
        pieces: &mut Vec<TextChunk>,
    ) -> Result<(), BoxError> {
        let atoms = &self.atoms[window];
        let (first, last) = (atoms[0], atoms[atoms.len() - 1]);
        if !self.limits.fit(atoms) {
            return self.split_atom(first, tokenizer, pieces);
        }
        let ids = &self.tokens.ids[first.token..last.token_end];
        let tokens = tokenizer.map_or_else(Vec::new, |it| self.input(it, &first, first.start, ids));
        pieces.push(self.chunk(first.start..last.end, tokens));
        Ok(())
    }

    fn chunk(&self, range: Range<usize>, tokens: Vec<u32>) -> TextChunk {
        let header = self.limits.tables.header_at(range.start).map(|header| header.range.clone());
        TextChunk { header, start: range.start, end: range.end, tokens }
    }

    /// The model input of a chunk that begins in this atom, at the byte `start`: context, header of
    /// the table, text, special tokens.
    fn input(&self, with: &dyn Tokenizer, first: &Atom, start: usize, ids: &[u32]) -> Vec<u32> {
        let context = self.limits.context(first).map_or(&[][..], |context| &context.ids);
        let header = self.limits.tables.header_at(start).map_or(&[][..], |header| &header.ids);
        with.add_special_tokens(&[context, header, ids].concat())
    }

    /// Splits an atom that is longer than a chunk. Its parts are encoded again, because inside a
    /// word the ids of the whole differ from those of its parts.
    fn split_atom(
        &self,
        atom: Atom,
        tokenizer: Option<&dyn Tokenizer>,
        pieces: &mut Vec<TextChunk>,
    ) -> Result<(), BoxError> {
        let spans = &self.tokens.offsets[atom.token..atom.token_end];
        let mut start = atom.start;
        while start < atom.end {
            let (room, characters) = self.limits.room(&atom, start);
            let mut end = self.max_end(start..atom.end, spans, room, characters);
            let mut tokens = Vec::new();
            if let Some(tokenizer) = tokenizer {
                let mut ids = tokenizer.encode(&self.text[start..end])?.ids;
                while ids.len() > room && self.text[start..end].chars().nth(1).is_some() {
                    end = self.char_boundary(start, start + (end - start) * 3 / 4);
                    ids = tokenizer.encode(&self.text[start..end])?.ids;
                }
                // A single character may have more tokens than a chunk; the rest is truncated.
                ids.truncate(room);
                tokens = self.input(tokenizer, &atom, start, &ids);
            }
            let piece = self.text[start..end].trim_end();
            if !piece.is_empty() {
                pieces.push(self.chunk(start..start + piece.len(), tokens));
            }
            start = atom.end - self.text[end..atom.end].trim_start().len();
        }
        Ok(())
    }

    /// The latest possible end of a part that begins at `start`, by the character limit and by the
    /// tokens of the whole atom.
    fn max_end(
        &self,
        part: Range<usize>,
        spans: &[Range<usize>],
        tokens: usize,
        characters: usize,
    ) -> usize {
        let Range { start, end } = part;
        let text = &self.text[start..end];
        let by_characters = text.char_indices().nth(characters).map_or(end, |(at, _)| start + at);
        let from = spans.partition_point(|span| span.start < start);
        let by_tokens = spans.get(from + tokens).map_or(end, |span| span.start);
        self.char_boundary(start, by_characters.min(by_tokens))
    }

    /// The last character boundary up to `at`, but at least one character after `start`.
    fn char_boundary(&self, start: usize, at: usize) -> usize {
        let first = self.text[start..].chars().next().map_or(0, char::len_utf8);
        let mut at = at;
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at.max(start + first)
    }
}
