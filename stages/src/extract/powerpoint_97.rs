//! PowerPoint presentations before 2007 (PPT, PowerPoint 97 to 2003): slides in order with titles,
//! text and speaker notes, parsed by `undoc`. ADR 0048 gives the reasons for this parser.
//!
//! The text of tables is that of their cells, one per line. Hidden slides are not marked.

use undoc::model::Block as SlideBlock;
use undoc::model::Section;
use undoc::ppt::PptParser;

use crate::extract::block::Block;
use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::ole;
use crate::extract::slides::{Slide, SlideWriter};
use crate::extract::word_97::{add_metadata, to_block, to_extract_error};

pub(crate) const FORMAT: Format = Format {
    name: "PPT",
    media_types: &["application/vnd.ms-powerpoint"],
    version: 0,
    is_cached: true,
    has_titles_in_headings: true,
    parse: |bytes, _| extract(bytes),
};

fn extract(bytes: &[u8]) -> Result<Document, ExtractErrorKind> {
    ole::refuse_encrypted(bytes)?;
    let parsed = PptParser::from_bytes(bytes.to_vec()).and_then(|mut parser| parser.parse());
    let parsed = parsed.map_err(to_extract_error)?;
    let mut slides = SlideWriter::default();
    for section in &parsed.sections {
        slides.push(&to_slide(section));
    }
    let mut document = slides.finish()?;
    add_metadata(parsed.metadata, &mut document);
    Ok(document)
}

fn to_slide(section: &Section) -> Slide {
    let mut slide = Slide::default();
    for block in &section.content {
        let SlideBlock::Paragraph(paragraph) = block else { continue };
        match to_block(paragraph) {
            Block::Heading { level: 1, text } => {
                let title = slide.title.get_or_insert_default();
                title.push_str(&text);
                title.push('\n');
            }
            // A subtitle.
            Block::Heading { text, .. } => slide.blocks.push(Block::Paragraph(text)),
            block @ (Block::Paragraph(_) | Block::Item(_) | Block::Table(_)) => {
                slide.blocks.push(block);
            }
        }
    }
    slide.notes = section.notes.iter().flatten().map(to_block).collect();
    slide
}
