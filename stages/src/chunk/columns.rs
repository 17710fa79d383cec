//! Builds the `chunks` column of a batch, with the page and heading path of each chunk.

use std::sync::Arc;

use arrow::array::{
    Array, ListArray, StringBuilder, StructArray, UInt32Array, UInt32Builder, UInt64Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use pipeline::column::chunk_fields;

use crate::chunk::text_chunk::{SectionHeading, TextChunk};

/// Builders of the column and its child arrays.
#[derive(Default)]
pub(super) struct ChunkColumnBuilder {
    per_document: Vec<usize>,
    starts: UInt64Builder,
    ends: UInt64Builder,
    header_starts: UInt64Builder,
    header_ends: UInt64Builder,
    pages: UInt32Builder,
    headings: StringBuilder,
    ids: Vec<u32>,
    ids_per_chunk: Vec<usize>,
}

impl ChunkColumnBuilder {
    /// Adds the chunks of a document, which must be in text order.
    pub(super) fn add(&mut self, pieces: &[TextChunk], headings: &[SectionHeading], pages: &[u64]) {
        self.per_document.push(pieces.len());
        let mut path = HeadingPath::default();
        let mut headings = headings.iter().peekable();
        for piece in pieces {
            while let Some(heading) = headings.next_if(|heading| heading.at <= piece.start) {
                path.push(heading);
            }
            let page = pages.partition_point(|page| *page <= piece.start as u64);
            let page = u32::try_from(page.max(1)).ok().filter(|_| !pages.is_empty());
            self.starts.append_value(piece.start as u64);
            self.ends.append_value(piece.end as u64);
            let header = piece.header.as_ref();
            self.header_starts.append_option(header.map(|header| header.start as u64));
            self.header_ends.append_option(header.map(|header| header.end as u64));
            self.pages.append_option(page);
            self.headings.append_option(path.rendered());
            self.ids.extend_from_slice(&piece.tokens);
            self.ids_per_chunk.push(piece.tokens.len());
        }
    }

    pub(super) fn finish(mut self) -> Result<ListArray, ArrowError> {
        let tokens = list(self.ids_per_chunk, Arc::new(UInt32Array::from(self.ids)))?;
        let chunks = StructArray::try_new(
            chunk_fields(),
            vec![
                Arc::new(self.starts.finish()),
                Arc::new(self.ends.finish()),
                Arc::new(self.header_starts.finish()),
                Arc::new(self.header_ends.finish()),
                Arc::new(self.pages.finish()),
                Arc::new(self.headings.finish()),
                Arc::new(tokens),
            ],
            None,
        )?;
        list(self.per_document, Arc::new(chunks))
    }
}

fn list(lengths: Vec<usize>, items: Arc<dyn Array>) -> Result<ListArray, ArrowError> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), false));
    ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, None)
}

/// The headings above a position in the text, outermost first.
#[derive(Default)]
struct HeadingPath<'a> {
    headings: Vec<&'a SectionHeading>,
    rendered: Option<String>,
}

impl<'a> HeadingPath<'a> {
    fn push(&mut self, heading: &'a SectionHeading) {
        self.headings.retain(|above| above.level < heading.level);
        self.headings.push(heading);
        self.rendered = None;
    }

    fn rendered(&mut self) -> Option<&str> {
        if self.rendered.is_none() && !self.headings.is_empty() {
            let titles: Vec<&str> =
                self.headings.iter().map(|heading| heading.title.as_str()).collect();
            self.rendered = Some(titles.join(" > "));
        }
        self.rendered.as_deref()
    }
}
