//! Word documents before 2007 (DOC, Word 6 to 2003): headings, paragraphs, lists, tables and
//! notes, parsed by `undoc`. ADR 0048 gives the reasons for this parser.
//!
//! Headers, footers, comments, hidden and deleted text, field codes, text boxes and pictures are
//! left out.

use undoc::Error;
use undoc::doc::DocParser;
use undoc::model::{self, Block as WordBlock, Paragraph, RevisionType};

use crate::extract::block::{Block, Note};
use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::ole;
use crate::extract::package::corrupt;
use crate::extract::table::Table;

pub(crate) const FORMAT: Format = Format {
    name: "DOC",
    media_types: &["application/msword"],
    version: 0,
    is_cached: true,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes),
};

fn extract(bytes: &[u8]) -> Result<Document, ExtractErrorKind> {
    ole::refuse_encrypted(bytes)?;
    let parsed = DocParser::from_bytes(bytes.to_vec()).and_then(|mut parser| parser.parse());
    let parsed = parsed.map_err(to_extract_error)?;
    let mut builder = DocumentBuilder::default();
    let mut notes = Vec::new();
    for block in parsed.sections.iter().flat_map(|section| &section.content) {
        match block {
            WordBlock::Paragraph(paragraph) => builder.push_block(&to_block(paragraph)),
            WordBlock::Table(table) => builder.push_table(&to_table(table)),
            WordBlock::Note { label, content } => {
                let text = lines(content);
                notes.push(Note { mark: label.clone(), text });
            }
            WordBlock::PageBreak | WordBlock::SectionBreak | WordBlock::Image { .. } => {}
        }
    }
    builder.push_notes(&notes);
    let mut document = builder.finish();
    add_metadata(parsed.metadata, &mut document);
    Ok(document)
}

/// The error of a parser of `undoc`.
pub(super) fn to_extract_error(error: Error) -> ExtractErrorKind {
    if matches!(error, Error::Encrypted) { ExtractErrorKind::Encrypted } else { corrupt(error) }
}

/// The block of a paragraph, without deleted text.
pub(super) fn to_block(paragraph: &Paragraph) -> Block {
    let text = text_of(paragraph);
    if paragraph.is_heading() {
        Block::Heading { level: paragraph.heading.level(), text }
    } else if paragraph.list_info.is_some() {
        Block::Item(text)
    } else {
        Block::Paragraph(text)
    }
}

fn to_table(table: &model::Table) -> Table {
    let row = |row: &model::Row| row.cells.iter().map(|cell| lines(&cell.content)).collect();
    Table { rows: table.rows.iter().map(row).collect(), header_rows: 0 }
}

fn lines(paragraphs: &[Paragraph]) -> String {
    paragraphs.iter().map(text_of).collect::<Vec<_>>().join("\n")
}

fn text_of(paragraph: &Paragraph) -> String {
    let mut text = String::new();
    for run in &paragraph.runs {
        if run.revision != RevisionType::Deleted {
            text.push_str(&run.text);
        }
        if let Some(label) = &run.note {
            text.push_str(&format!("[{label}]"));
        }
        if run.line_break {
            text.push('\n');
        }
    }
    text
}

/// Sets the title, and adds the metadata.
pub(super) fn add_metadata(metadata: model::Metadata, document: &mut Document) {
    document.title =
        metadata.title.map(|title| collapse_whitespace(&title)).filter(|title| !title.is_empty());
    for (key, value) in [
        ("author", metadata.author),
        ("subject", metadata.subject),
        ("description", metadata.description),
        ("keywords", Some(metadata.keywords.join(", "))),
        ("created", metadata.created),
        ("modified", metadata.modified),
        ("last_modified_by", metadata.last_modified_by),
    ] {
        document.add_metadata(key, &value.unwrap_or_default());
    }
}
