//! OpenDocument presentations: slides in order, each with its title, text, tables and speaker
//! notes.
//!
//! Text is in the order of the shapes in the file; the title comes first. Master slides, footers,
//! dates, slide numbers, comments and alternative texts are left out.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use quick_xml::events::{BytesStart, Event};

use crate::extract::block::Block;
use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::odf::OpenDocument;
use crate::extract::odf::body::BodyReader;
use crate::extract::odf::styles::Styles;
use crate::extract::slides::{Slide, SlideWriter};
use crate::extract::xml::{attribute, for_each_event};

pub(crate) const FORMAT: Format = Format {
    name: "ODP",
    media_types: &[
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.presentation-flat-xml",
        "application/vnd.oasis.opendocument.presentation-template",
    ],
    version: 0,
    is_cached: true,
    has_titles_in_headings: true,
    parse: extract,
};

/// Frames that repeat on all slides.
const IGNORED_CLASSES: &[&str] = &["date-time", "footer", "header", "page-number"];

/// Extracts the document; the parts that are read may unpack to at most `most` bytes in total.
fn extract(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    let file = OpenDocument::read(bytes, most)?;
    let mut reader = SlideReader {
        styles: &file.styles,
        body: BodyReader::new(&file.styles),
        writer: SlideWriter::default(),
        slide: Slide::default(),
        frames: Vec::new(),
    };
    for_each_event(&file.content, |event| reader.read(event))?;
    let mut document = reader.writer.finish()?;
    file.add_metadata(&mut document)?;
    Ok(document)
}

struct SlideReader<'s> {
    styles: &'s Styles,
    body: BodyReader<'s>,
    writer: SlideWriter,
    slide: Slide,
    /// For each open frame, the number of blocks before it if it is a title.
    frames: Vec<Option<usize>>,
}

impl SlideReader<'_> {
    fn read(&mut self, event: &Event<'_>) {
        let is_content = self.body.read(event);
        match event {
            Event::Start(element) if is_content => self.start(element),
            Event::End(element) if is_content => self.end(element.name().as_ref()),
            _ => {}
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        match element.name().as_ref() {
            "draw:page" => {
                self.body.blocks.clear();
                let is_hidden = self.styles.is_hidden_slide(element);
                self.slide = Slide { is_hidden, ..Slide::default() };
            }
            "presentation:notes" => self.slide.blocks.append(&mut self.body.blocks),
            "draw:frame" => {
                let class = attribute(element, "class").unwrap_or_default();
                let is_prompt = attribute(element, "placeholder").is_some_and(|it| it == "true");
                if is_prompt || IGNORED_CLASSES.contains(&class.as_str()) {
                    return self.body.ignore();
                }
                let is_title = class == "title" && self.slide.title.is_none();
                self.frames.push(is_title.then_some(self.body.blocks.len()));
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "draw:frame" => {
                if let Some(before) = self.frames.pop().flatten() {
                    self.end_title(before);
                }
            }
            "presentation:notes" => self.slide.notes.append(&mut self.body.blocks),
            "draw:page" => {
                self.slide.blocks.append(&mut self.body.blocks);
                self.writer.push(&std::mem::take(&mut self.slide));
            }
            _ => {}
        }
    }

    /// Makes the blocks of the frame of the title its text.
    fn end_title(&mut self, before: usize) {
        let blocks = self.body.blocks.split_off(before.min(self.body.blocks.len()));
        let mut title = String::new();
        for block in blocks {
            match block {
                Block::Heading { text, .. } | Block::Paragraph(text) | Block::Item(text) => {
                    title.push_str(&text);
                    title.push('\n');
                }
                Block::Table(_) => self.body.blocks.push(block),
            }
        }
        self.slide.title = Some(title).filter(|title| !title.is_empty());
    }
}
