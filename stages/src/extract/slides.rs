//! Presentations: each slide is a page, its title a heading, and its speaker notes follow it.

use crate::extract::block::Block;
use crate::extract::document::{Document, DocumentBuilder};
use crate::extract::error::ExtractErrorKind;
use crate::extract::package::corrupt;

/// The line before the speaker notes of a slide.
const NOTES_LABEL: &str = "Notes:";

/// A slide.
#[derive(Default)]
pub(crate) struct Slide {
    pub(crate) title: Option<String>,
    /// The content without the title, in reading order.
    pub(crate) blocks: Vec<Block>,
    /// The speaker notes.
    pub(crate) notes: Vec<Block>,
    /// `true` for a slide that the presentation skips when it is shown.
    pub(crate) is_hidden: bool,
    /// `true` if a part of the slide could not be read.
    pub(crate) is_damaged: bool,
}

/// Writes the slides of a presentation in order.
#[derive(Default)]
pub(crate) struct SlideWriter {
    builder: DocumentBuilder,
    slides: usize,
    hidden: Vec<String>,
    damaged: Vec<String>,
}

impl SlideWriter {
    pub(crate) fn push(&mut self, slide: &Slide) {
        self.slides += 1;
        let number = || self.slides.to_string();
        if slide.is_hidden {
            self.hidden.push(number());
        }
        if slide.is_damaged {
            self.damaged.push(number());
        }
        self.builder.begin_page();
        if let Some(title) = &slide.title {
            let text = title.clone();
            self.builder.push_block(&Block::Heading { level: 1, text });
        }
        for block in &slide.blocks {
            self.builder.push_block(block);
        }
        if !slide.notes.is_empty() {
            self.builder.begin_block();
            self.builder.push_text(NOTES_LABEL);
            self.builder.begin_line();
        }
        for block in &slide.notes {
            self.builder.push_block(block);
        }
    }

    /// Completes the document. Its metadata lists hidden and damaged slides by number.
    ///
    /// # Errors
    ///
    /// `Corrupt` if there is no text, and slides are damaged.
    pub(crate) fn finish(self) -> Result<Document, ExtractErrorKind> {
        let mut document = self.builder.finish();
        if let (true, Some(slide)) = (document.text.is_empty(), self.damaged.first()) {
            return Err(corrupt(format!("slide {slide} cannot be read")));
        }
        document.add_metadata("hidden_slides", &self.hidden.join(", "));
        document.add_metadata("damaged_slides", &self.damaged.join(", "));
        Ok(document)
    }
}
