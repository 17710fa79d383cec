//! PowerPoint presentations (Office Open XML): slides in the order of the presentation, each with
//! its title, text, tables, diagrams and speaker notes.
//!
//! Text is in the order of the shapes in the file, which is the order in which screen readers
//! present them; the title comes first. Slide masters and layouts, footers, dates, slide numbers,
//! comments and alternative texts are left out. A slide that cannot be read keeps its page.

mod slide;

use std::collections::HashMap;

use quick_xml::events::Event;

use crate::extract::block::Block;
use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::ooxml::{self, Relationship, relationships};
use crate::extract::package::{Package, corrupt};
use crate::extract::pptx::slide::{graphic_texts, read_notes, read_slide};
use crate::extract::slides::{Slide, SlideWriter};
use crate::extract::xml::for_each_event;

pub(crate) const FORMAT: Format = Format {
    name: "PPTX",
    media_types: &[
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
        "application/vnd.openxmlformats-officedocument.presentationml.template",
        "application/vnd.ms-powerpoint.presentation.macroenabled.12",
        "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
        "application/vnd.ms-powerpoint.template.macroenabled.12",
    ],
    version: 0,
    is_cached: true,
    has_titles_in_headings: true,
    parse: extract,
};

/// The usual name of the main part.
const PRESENTATION: &str = "ppt/presentation.xml";

/// Extracts the document; the parts that are read may unpack to at most `most` bytes in total.
fn extract(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    let mut package = ooxml::open(bytes, most)?;
    let main = main_part(&mut package)?;
    let Some(presentation) = package.read_part(&main)? else {
        return Err(corrupt(format!("{main} is missing")));
    };
    let related = relationships(&mut package, &main)?;
    let mut parts: HashMap<String, String> =
        related.into_iter().filter(|it| it.kind == "slide").map(|it| (it.id, it.part)).collect();
    let mut slides = SlideWriter::default();
    for id in slide_ids(&presentation)? {
        // Each part is read once, however often a file refers to it.
        let slide = match parts.remove(&id) {
            Some(part) => slide_of(&mut package, &part)?,
            None => Slide { is_damaged: true, ..Slide::default() },
        };
        slides.push(&slide);
    }
    let mut document = slides.finish()?;
    ooxml::read_properties(&mut package, &mut document)?;
    Ok(document)
}

/// The name of the main part, to which the archive itself refers.
fn main_part(package: &mut Package<'_>) -> Result<String, ExtractErrorKind> {
    let related = ExtractErrorKind::unless_corrupt(relationships(package, ""))?;
    let mut related = related.unwrap_or_default().into_iter();
    let found = related.find(|it| it.kind == "officeDocument");
    Ok(found.map_or_else(|| PRESENTATION.to_owned(), |it| it.part))
}

/// The relationship ids of the slides, in the order of the presentation.
fn slide_ids(presentation: &str) -> Result<Vec<String>, ExtractErrorKind> {
    let mut ids: Vec<String> = Vec::new();
    for_each_event(presentation, |event| {
        let Event::Start(element) = event else { return };
        if element.local_name().as_ref() != "sldId" {
            return;
        }
        // `id` is also the name of an attribute without prefix.
        let id = element.attributes().flatten().find(|it| it.key.as_ref().ends_with(":id"));
        if let Some(id) = id {
            ids.push(id.value.into_owned());
        }
    })?;
    Ok(ids)
}

/// The slide of a part. An error of a part costs this part; a limit costs the document.
fn slide_of(package: &mut Package<'_>, part: &str) -> Result<Slide, ExtractErrorKind> {
    let mut slide = Slide::default();
    let Some(xml) = readable(package.read_part(part), &mut slide)?.flatten() else {
        slide.is_damaged = true;
        return Ok(slide);
    };
    let read = read_slide(&xml, &mut slide);
    readable(read, &mut slide)?;
    let related = readable(relationships(package, part), &mut slide)?.unwrap_or_default();
    for Relationship { kind, part, .. } in related {
        if !matches!(kind.as_str(), "diagramData" | "chart" | "notesSlide") {
            continue;
        }
        let Some(xml) = readable(package.read_part(&part), &mut slide)?.flatten() else {
            continue;
        };
        if kind == "notesSlide" {
            let notes = read_notes(&xml);
            slide.notes = readable(notes, &mut slide)?.unwrap_or_default();
        } else {
            let texts = readable(graphic_texts(&xml), &mut slide)?.unwrap_or_default();
            slide.blocks.extend(texts.into_iter().map(Block::Paragraph));
        }
    }
    Ok(slide)
}

/// The value; `None` with a mark on the slide for content that violates the format.
fn readable<T>(
    result: Result<T, ExtractErrorKind>,
    slide: &mut Slide,
) -> Result<Option<T>, ExtractErrorKind> {
    let value = ExtractErrorKind::unless_corrupt(result)?;
    slide.is_damaged |= value.is_none();
    Ok(value)
}
