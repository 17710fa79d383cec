//! The text of a slide, of its notes page, and of its diagrams and charts (`DrawingML`).

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use std::collections::HashSet;

use quick_xml::events::{BytesStart, Event};

use crate::extract::block::Block;
use crate::extract::document::collapse_whitespace;
use crate::extract::error::ExtractErrorKind;
use crate::extract::slides::Slide;
use crate::extract::table::Table;
use crate::extract::xml::{attribute, for_each_event, text_of};

/// Placeholders that repeat on all slides or contain no text of the author.
const IGNORED_PLACEHOLDERS: &[&str] = &["dt", "ftr", "hdr", "sldNum", "sldImg"];

/// Reads the part of a slide. The slide keeps the text before an error.
pub(super) fn read_slide(xml: &str, slide: &mut Slide) -> Result<(), ExtractErrorKind> {
    let mut reader = ShapeReader::default();
    let read = reader.read(xml);
    slide.title = reader.title;
    slide.blocks = reader.blocks;
    slide.is_hidden = reader.is_hidden;
    read
}

/// The text of a notes page, without the picture of its slide.
pub(super) fn read_notes(xml: &str) -> Result<Vec<Block>, ExtractErrorKind> {
    let mut reader = ShapeReader::default();
    reader.read(xml)?;
    Ok(reader.blocks)
}

/// The texts of the part of a diagram, or of a chart: titles, names of series and categories. Each
/// occurs once.
pub(super) fn graphic_texts(xml: &str) -> Result<Vec<String>, ExtractErrorKind> {
    let (mut texts, mut seen) = (Vec::new(), HashSet::new());
    let mut text = String::new();
    let (mut in_text, mut in_names) = (false, false);
    for_each_event(xml, |event| match event {
        Event::Start(element) => match element.local_name().as_ref() {
            "t" => in_text = true,
            "v" => in_text = in_names,
            "strCache" => in_names = true,
            _ => {}
        },
        Event::End(element) => match element.local_name().as_ref() {
            "t" => in_text = false,
            "strCache" => in_names = false,
            "p" | "v" => {
                in_text = false;
                let line = collapse_whitespace(&std::mem::take(&mut text));
                if !line.is_empty() && seen.insert(line.clone()) {
                    texts.push(line);
                }
            }
            _ => {}
        },
        event if in_text => text.push_str(&text_of(event).unwrap_or_default()),
        _ => {}
    })?;
    Ok(texts)
}

#[derive(Default)]
struct ShapeReader {
    title: Option<String>,
    blocks: Vec<Block>,
    is_hidden: bool,
    /// Number of open elements since the start of an ignored one.
    ignored_depth: usize,
    /// The type of the placeholder of the current shape.
    placeholder: Option<String>,
    paragraph: Option<Paragraph>,
    in_text: bool,
    table: Option<OpenTable>,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    is_item: bool,
}

#[derive(Default)]
struct OpenTable {
    table: Table,
    cell: String,
}

impl ShapeReader {
    fn read(&mut self, xml: &str) -> Result<(), ExtractErrorKind> {
        for_each_event(xml, |event| match event {
            Event::Start(_) if self.ignored_depth > 0 => self.ignored_depth += 1,
            Event::End(_) if self.ignored_depth > 0 => self.ignored_depth -= 1,
            Event::Start(element) => self.start(element),
            Event::End(element) => self.end(element.local_name().as_ref()),
            event => {
                if let (true, Some(paragraph)) = (self.in_text, &mut self.paragraph) {
                    paragraph.text.push_str(&text_of(event).unwrap_or_default());
                }
            }
        })
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            "sld" => self.is_hidden = attribute(element, "show").is_some_and(|it| is_false(&it)),
            // The rendering for programs that do not know the first one.
            "Fallback" => self.ignored_depth = 1,
            "sp" => self.placeholder = None,
            "ph" => self.placeholder = Some(attribute(element, "type").unwrap_or_default()),
            "txBody" if self.is_ignored_shape() => self.ignored_depth = 1,
            "p" => self.paragraph = Some(Paragraph::default()),
            "buChar" | "buAutoNum" | "buBlip" => {
                if let Some(paragraph) = &mut self.paragraph {
                    paragraph.is_item = true;
                }
            }
            "t" => self.in_text = true,
            "br" => {
                if let Some(paragraph) = &mut self.paragraph {
                    paragraph.text.push('\n');
                }
            }
            "tbl" => self.table = Some(OpenTable::default()),
            "tblPr" => {
                let has_header = attribute(element, "firstRow").is_some_and(|it| !is_false(&it));
                if let Some(open) = &mut self.table {
                    open.table.header_rows = usize::from(has_header);
                }
            }
            "tr" => {
                if let Some(open) = &mut self.table {
                    open.table.rows.push(Vec::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "sp" => self.placeholder = None,
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "tc" => {
                if let Some(open) = &mut self.table
                    && let Some(row) = open.table.rows.last_mut()
                {
                    row.push(std::mem::take(&mut open.cell));
                }
            }
            "tbl" => self.blocks.extend(self.table.take().map(|open| Block::Table(open.table))),
            _ => {}
        }
    }

    fn is_ignored_shape(&self) -> bool {
        let placeholder = self.placeholder.as_deref();
        placeholder.is_some_and(|kind| IGNORED_PLACEHOLDERS.contains(&kind))
    }

    fn end_paragraph(&mut self) {
        let Some(Paragraph { text, is_item }) = self.paragraph.take() else { return };
        if text.trim().is_empty() {
            return;
        }
        if let Some(open) = &mut self.table {
            open.cell.push_str(&text);
            open.cell.push('\n');
        } else if matches!(self.placeholder.as_deref(), Some("title" | "ctrTitle")) {
            let title = self.title.get_or_insert_default();
            title.push_str(&text);
            title.push('\n');
        } else if is_item {
            self.blocks.push(Block::Item(text));
        } else {
            self.blocks.push(Block::Paragraph(text));
        }
    }
}

/// `true` for the values that XML Schema defines as false.
fn is_false(value: &str) -> bool {
    matches!(value, "0" | "false")
}
