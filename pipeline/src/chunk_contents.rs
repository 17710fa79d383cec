//! The contents of chunks.

use std::borrow::Cow;
use std::ops::Range;

use arrow::array::{Array as _, AsArray as _, StructArray, UInt64Array};
use arrow::datatypes::UInt64Type;

/// The contents of chunks: the range of each in the text of its document, after the header of a
/// table if the range begins inside the table.
///
/// Searches, sinks and sparse vectors use the content. Its last `end - start` bytes are
/// `text[start..end]`, so the length of the repeated header is known from the content alone.
pub struct ChunkContents<'a> {
    starts: &'a UInt64Array,
    ends: &'a UInt64Array,
    header_starts: &'a UInt64Array,
    header_ends: &'a UInt64Array,
}

impl<'a> ChunkContents<'a> {
    /// `chunks` are items of the column [`CHUNKS`](crate::column::CHUNKS).
    ///
    /// # Panics
    /// If they have another type.
    pub fn of(chunks: &'a StructArray) -> Self {
        let offsets = |name: &str| {
            let column = chunks.column_by_name(name).expect("the column type has this field");
            column.as_primitive::<UInt64Type>()
        };
        Self {
            starts: offsets("start"),
            ends: offsets("end"),
            header_starts: offsets("header_start"),
            header_ends: offsets("header_end"),
        }
    }

    /// The range of the chunk at `at` in the text, in bytes.
    pub fn range(&self, at: usize) -> Range<u64> {
        self.starts.value(at)..self.ends.value(at)
    }

    /// The range of the table header that the chunk at `at` repeats.
    pub fn header(&self, at: usize) -> Option<Range<u64>> {
        let has_header = self.header_starts.is_valid(at) && self.header_ends.is_valid(at);
        has_header.then(|| self.header_starts.value(at)..self.header_ends.value(at))
    }

    /// The content of the chunk at `at`; `None` if a range is outside the text.
    pub fn content<'t>(&self, text: &'t str, at: usize) -> Option<Cow<'t, str>> {
        let part = |range: Range<u64>| {
            text.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
        };
        let own = part(self.range(at))?;
        match self.header(at) {
            Some(header) => Some(Cow::Owned([part(header)?, own].concat())),
            None => Some(Cow::Borrowed(own)),
        }
    }
}

/// Length in bytes of the table header that the content of a chunk repeats before its own text,
/// `start..end` of the document; 0 if it repeats none. `None` if the content is not text of the
/// document, so that offsets say nothing about it.
///
/// ```
/// let content = "| Tree | Age |\n|-|-|\n| Oak | 900 |";
/// let header = pipeline::repeated_header_len(content, 240, 253).unwrap();
/// assert_eq!(&content[header..], "| Oak | 900 |");
/// assert_eq!(pipeline::repeated_header_len(content, 0, 34), Some(0));
/// assert_eq!(pipeline::repeated_header_len(content, 0, 35), None);
/// ```
pub fn repeated_header_len(content: &str, start: u64, end: u64) -> Option<usize> {
    let own = usize::try_from(end.checked_sub(start)?).ok()?;
    content.len().checked_sub(own).filter(|header| content.is_char_boundary(*header))
}
