//! PDF: paragraphs page by page, bookmarks as headings (ADR 0003 says why this reader).
//!
//! Scanned pages have no text, and none is made up for them. A file whose directory is broken is read
//! from the objects that are left in it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what the parser says, the rest is treated alike"
)]

use unpdf::model::OutlineItem;
use unpdf::{Block, Error, ParseOptions};

use crate::extract::Refusal;
use crate::extract::document::{Document, Heading, Pen, one_line};

/// The document.
pub(crate) fn extract(bytes: &[u8]) -> Result<Document, Refusal> {
    // One thread: the process that this runs in is one of several, and is limited in memory.
    let options = ParseOptions::new().lenient().sequential().with_resources(false);
    let pdf = unpdf::parse_bytes_with_options(bytes, options).map_err(|error| refusal(&error))?;
    let bookmarks = pdf.outline.map(|outline| outline.items).unwrap_or_default();
    let mut pen = Pen::default();
    let mut pages = 0;
    for page in &pdf.pages {
        // A page that could not be read is a page all the same.
        while pages < page.number {
            pen.page();
            pages += 1;
        }
        for block in &page.elements {
            write(&mut pen, block, bookmarks.is_empty());
        }
    }
    let mut document = pen.finish();
    if document.text.is_empty() && is_cut_off(bytes) {
        return Err(Refusal::Corrupt(
            "its end is missing, and there is no text in what is left".to_owned(),
        ));
    }
    place(&bookmarks, 1, &mut document);
    let about = pdf.metadata;
    document.title = about.title.map(|title| one_line(&title)).filter(|title| !title.is_empty());
    for (key, value) in [
        ("author", about.author),
        ("subject", about.subject),
        ("keywords", about.keywords),
        ("creator", about.creator),
        ("created", about.created.map(|time| time.to_rfc3339())),
        ("modified", about.modified.map(|time| time.to_rfc3339())),
    ] {
        document.note(key, &value.unwrap_or_default());
    }
    Ok(document)
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Encrypted | Error::InvalidPassword => Refusal::Encrypted,
        error => Refusal::Corrupt(error.to_string()),
    }
}

/// Whether the mark is missing with which every PDF ends.
fn is_cut_off(bytes: &[u8]) -> bool {
    let end = &bytes[bytes.len().saturating_sub(2048)..];
    !end.windows(5).any(|window| window == b"%%EOF")
}

/// Writes a block. Headings are guessed from type sizes, so they count only where nobody said better.
fn write(pen: &mut Pen, block: &Block, guess_headings: bool) {
    match block {
        Block::Paragraph(paragraph) => {
            let level = paragraph.heading_level().filter(|_| guess_headings);
            if let Some(level) = level {
                pen.begin_heading(level);
            } else {
                pen.block();
            }
            for line in paragraph.plain_text().split('\n') {
                pen.flow(line);
                pen.line();
            }
            if level.is_some() {
                pen.end_heading();
            }
        }
        Block::Table(table) => {
            pen.block();
            for line in table.plain_text().split('\n') {
                pen.flow(&line.replace('\t', " | "));
                pen.line();
            }
        }
        Block::Code { content } | Block::Raw { content } => {
            pen.block();
            pen.verbatim(content);
        }
        Block::Image { alt_text, .. } => pen.flow(alt_text.as_deref().unwrap_or_default()),
        Block::HorizontalRule | Block::PageBreak | Block::SectionBreak => pen.block(),
    }
    pen.block();
}

/// Finds where the headings that the bookmarks name stand on their pages.
fn place(bookmarks: &[OutlineItem], level: u8, document: &mut Document) {
    let mut from = 0;
    let mut stack: Vec<(&OutlineItem, u8)> =
        bookmarks.iter().rev().map(|item| (item, level)).collect();
    while let Some((item, level)) = stack.pop() {
        stack.extend(item.children.iter().rev().map(|child| (child, level.saturating_add(1))));
        let title = one_line(&item.title);
        let Some(page) = item.page.filter(|_| !title.is_empty()) else { continue };
        let page = usize::try_from(page.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(start) = document.pages.get(page).map(|start| offset(*start)) else { continue };
        let end = document.pages.get(page + 1).map_or(document.text.len(), |end| offset(*end));
        // Bookmarks come in the order of the text; one that leads back begins where the last one did.
        let start = start.max(from).min(document.text.len());
        let end = end.max(start);
        let at = start + document.text[start..end].find(&title).unwrap_or(0);
        document.outline.push(Heading { at: at as u64, level, title });
        from = at;
    }
}

fn offset(at: u64) -> usize {
    usize::try_from(at).expect("an offset into a text that is in memory")
}
