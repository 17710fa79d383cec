//! The table of contents of a book: NCX (EPUB 2) or a navigation document (EPUB 3).

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use std::collections::HashMap;

use quick_xml::events::Event;

use crate::extract::document::collapse_whitespace;
use crate::extract::error::ExtractErrorKind;
use crate::extract::package::resolve;
use crate::extract::xml::{attribute, for_each_event, text_of};

/// The lowest level of a heading.
const MAX_LEVEL: u8 = 6;

/// An entry of the table of contents.
pub(super) struct Entry {
    /// 1 is the highest.
    pub(super) level: u8,
    pub(super) label: String,
}

/// The first entry for each part of the book, by its name.
#[derive(Default)]
pub(super) struct Contents(HashMap<String, Entry>);

impl Contents {
    /// Parses the part with this name.
    pub(super) fn parse(xml: &str, part: &str) -> Result<Self, ExtractErrorKind> {
        let mut contents = Self::default();
        let (mut level, mut text, mut target) = (0_u8, String::new(), None);
        for_each_event(xml, |event| match event {
            Event::Start(element) => match element.local_name().as_ref() {
                "navPoint" | "ol" => level = level.saturating_add(1),
                "navLabel" => text.clear(),
                "content" => {
                    let target = attribute(element, "src");
                    contents.add(target.map(|it| resolve(part, &it)), level, &text);
                }
                "a" => {
                    text.clear();
                    target = attribute(element, "href").map(|it| resolve(part, &it));
                }
                _ => {}
            },
            Event::End(element) => match element.local_name().as_ref() {
                "navPoint" | "ol" => level = level.saturating_sub(1),
                "a" => contents.add(target.take(), level, &text),
                _ => {}
            },
            event => text.push_str(&text_of(event).unwrap_or_default()),
        })?;
        Ok(contents)
    }

    fn add(&mut self, target: Option<String>, level: u8, text: &str) {
        let label = collapse_whitespace(text);
        if let (Some(target), false) = (target, label.is_empty()) {
            let level = level.clamp(1, MAX_LEVEL);
            self.0.entry(target).or_insert(Entry { level, label });
        }
    }

    /// The first entry that refers to a part.
    pub(super) fn entry(&self, part: &str) -> Option<&Entry> {
        self.0.get(part)
    }
}
