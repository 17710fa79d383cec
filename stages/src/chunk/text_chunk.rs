//! Headings and chunks as ranges of a text.

use std::ops::Range;

/// An entry of the outline; `at` is a byte offset into the text.
pub(super) struct SectionHeading {
    pub(super) at: usize,
    pub(super) level: u8,
    pub(super) title: String,
}

/// One chunk: a byte range of the text, and its full model input as token ids (empty without a
/// model).
#[derive(Debug)]
pub(super) struct TextChunk {
    /// The table header that its content repeats before its own text, as a byte range.
    pub(super) header: Option<Range<usize>>,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) tokens: Vec<u32>,
}
