//! PDF: paragraphs page by page, with bookmarks as headings. ADR 0003 gives the reasons for this
//! parser.
//!
//! Scanned pages have no text and are not recognised (no OCR); a document of such pages only is
//! refused with their number. A file with a damaged cross-reference table is read from its
//! remaining objects.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use std::collections::HashMap;

use unpdf::model::OutlineItem;
use unpdf::{Block, Error, ParseOptions};

use crate::extract::document::{Document, DocumentBuilder, Heading, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;

pub(crate) const FORMAT: Format = Format {
    name: "PDF",
    media_types: &["application/pdf"],
    version: 0,
    is_cached: true,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes),
};

/// Extracts the document.
fn extract(bytes: &[u8]) -> Result<Document, ExtractErrorKind> {
    // One thread: several extract workers run concurrently, each with a memory limit.
    let options = ParseOptions::new().lenient().sequential().with_resources(false);
    let pdf = unpdf::parse_bytes_with_options(bytes, options)
        .map_err(|error| to_extract_error(&error, bytes))?;
    let bookmarks = pdf.outline.map(|outline| outline.items).unwrap_or_default();
    let mut pen = DocumentBuilder::default();
    let mut pages = 0;
    let mut images = 0;
    for page in &pdf.pages {
        images += u64::from(page.text_op_count == 0 && page.image_op_count > 0);
        // A page that cannot be read still counts as a page.
        while pages < page.number {
            pen.begin_page();
            pages += 1;
        }
        for block in &page.elements {
            write_block(&mut pen, block);
        }
    }
    let mut document = pen.finish();
    if document.text.is_empty() && is_truncated(bytes) {
        return Err(ExtractErrorKind::Corrupt(
            "truncated, and the rest contains no text".to_owned(),
        ));
    }
    if document.text.is_empty() && images > 0 {
        return Err(ExtractErrorKind::ImagesOnly(images, pages.into()));
    }
    let placed = locate_bookmarks(&bookmarks, &document);
    if !placed.is_empty() {
        document.outline = placed;
    }
    let about = pdf.metadata;
    document.title =
        about.title.map(|title| collapse_whitespace(&title)).filter(|title| !title.is_empty());
    for (key, value) in [
        ("author", about.author),
        ("subject", about.subject),
        ("keywords", about.keywords),
        ("creator", about.creator),
        ("created", about.created.map(|time| time.to_rfc3339())),
        ("modified", about.modified.map(|time| time.to_rfc3339())),
    ] {
        document.add_metadata(key, &value.unwrap_or_default());
    }
    Ok(document)
}

fn to_extract_error(error: &Error, bytes: &[u8]) -> ExtractErrorKind {
    match error {
        Error::Encrypted | Error::InvalidPassword => ExtractErrorKind::Encrypted,
        Error::PdfParse(said) if is_truncated(bytes) => {
            ExtractErrorKind::Corrupt(format!("truncated ({said})"))
        }
        error => ExtractErrorKind::Corrupt(error.to_string()),
    }
}

/// `true` if the end-of-file marker `%%EOF` is missing in the last 2 KiB.
fn is_truncated(bytes: &[u8]) -> bool {
    let end = &bytes[bytes.len().saturating_sub(2048)..];
    !end.windows(5).any(|window| window == b"%%EOF")
}

/// Writes a block. Its headings are guessed from font sizes, and replaced by bookmarks if there are
/// any.
fn write_block(pen: &mut DocumentBuilder, block: &Block) {
    match block {
        Block::Paragraph(paragraph) => {
            let level = paragraph.heading_level();
            if let Some(level) = level {
                pen.begin_heading(level);
            } else {
                pen.begin_block();
            }
            for line in paragraph.plain_text().split('\n') {
                pen.push_text(line);
                pen.begin_line();
            }
            if level.is_some() {
                pen.end_heading();
            }
        }
        Block::Table(table) => {
            pen.begin_block();
            for line in table.plain_text().split('\n') {
                pen.push_text(&line.replace('\t', " | "));
                pen.begin_line();
            }
        }
        Block::Code { content } | Block::Raw { content } => {
            pen.begin_block();
            pen.push_verbatim(content);
        }
        Block::Image { alt_text, .. } => pen.push_text(alt_text.as_deref().unwrap_or_default()),
        Block::HorizontalRule | Block::PageBreak | Block::SectionBreak => pen.begin_block(),
    }
    pen.begin_block();
}

/// The positions of the bookmarks as headings: on their page or, for a bookmark without a page, at
/// the next line with the same text.
fn locate_bookmarks(bookmarks: &[OutlineItem], document: &Document) -> Vec<Heading> {
    let mut lines: HashMap<String, Vec<usize>> = HashMap::new();
    let mut at = 0;
    for line in document.text.split_inclusive('\n') {
        lines.entry(normalized_title(line)).or_default().push(at);
        at += line.len();
    }
    let mut placed = Vec::new();
    let mut from = 0;
    let mut stack: Vec<(&OutlineItem, u8)> = bookmarks.iter().rev().map(|item| (item, 1)).collect();
    while let Some((item, level)) = stack.pop() {
        stack.extend(item.children.iter().rev().map(|child| (child, level.saturating_add(1))));
        let title = collapse_whitespace(&item.title);
        let same = lines.get(&normalized_title(&title)).map_or(&[][..], Vec::as_slice);
        let on_page = item.page.map(|page| page_range(document, page));
        let (start, end) = on_page.unwrap_or((from, document.text.len()));
        // Bookmarks are in text order; one that points backwards begins at the previous one.
        let start = start.max(from);
        let page = start..end.max(start);
        let after = same.partition_point(|at| *at < page.start);
        let line = same.get(after).copied().filter(|at| page.contains(at));
        // A title that is not a line by itself is searched for within its page.
        let within =
            || on_page.map(|_| start + document.text[page.clone()].find(&title).unwrap_or(0));
        let Some(at) = line.or_else(within).filter(|_| !title.is_empty()) else { continue };
        placed.push(Heading { at: at as u64, level, title });
        from = at;
    }
    placed
}

/// Start and end of a page in the text.
fn page_range(document: &Document, page: u32) -> (usize, usize) {
    let page = usize::try_from(page.saturating_sub(1)).unwrap_or(usize::MAX);
    let start = |page: usize| document.pages.get(page).map(|start| to_usize(*start));
    let end = document.text.len();
    (start(page).unwrap_or(end), page.checked_add(1).and_then(start).unwrap_or(end))
}

/// A heading without its number, in lower case and with one kind of apostrophe, because chapter
/// titles are often capitalised and bookmarks often lack the number.
fn normalized_title(title: &str) -> String {
    let title = collapse_whitespace(title).to_lowercase().replace('’', "'");
    let title = title
        .strip_prefix("chapter ")
        .or_else(|| title.strip_prefix("appendix "))
        .unwrap_or(&title);
    let bare =
        title.trim_start_matches(|char: char| char.is_ascii_digit() || char == '.').trim_start();
    if bare.is_empty() { title.to_owned() } else { bare.to_owned() }
}

fn to_usize(at: u64) -> usize {
    usize::try_from(at).expect("an offset into a text that is in memory")
}
