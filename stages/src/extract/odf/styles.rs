//! The styles of an OpenDocument file that determine its text: titles, hidden text, hidden slides,
//! the language.

use std::collections::{HashMap, HashSet};

use quick_xml::events::{BytesStart, Event};

use crate::extract::error::ExtractErrorKind;
use crate::extract::language;
use crate::extract::xml::{attribute, for_each_event};

/// The name of the style of document titles, in all languages of the program.
const TITLE: &str = "Title";

/// Styles that are followed from a style to its parents.
const MAX_PARENTS: usize = 8;

/// Named and automatic styles.
#[derive(Default)]
pub(crate) struct Styles {
    /// The parent of each paragraph style.
    parents: HashMap<String, String>,
    hidden_texts: HashSet<String>,
    hidden_slides: HashSet<String>,
    /// ISO 639-1 code of the default paragraph style.
    pub(crate) language: Option<String>,
}

impl Styles {
    /// Adds the styles of a part.
    pub(super) fn read(&mut self, xml: &str) -> Result<(), ExtractErrorKind> {
        let (mut name, mut family, mut is_default) = (String::new(), String::new(), false);
        for_each_event(xml, |event| {
            let Event::Start(element) = event else { return };
            match element.name().as_ref() {
                tag @ ("style:style" | "style:default-style") => {
                    is_default = tag == "style:default-style";
                    name = attribute(element, "name").unwrap_or_default();
                    family = attribute(element, "family").unwrap_or_default();
                    if let ("paragraph", Some(parent)) =
                        (family.as_str(), attribute(element, "parent-style-name"))
                    {
                        self.parents.insert(name.clone(), parent);
                    }
                }
                "style:text-properties" if is_default && family == "paragraph" => {
                    let tag = attribute(element, "language").unwrap_or_default();
                    self.language = language::iso_code(&tag);
                }
                "style:text-properties" if is_undisplayed(element) && family == "text" => {
                    self.hidden_texts.insert(name.clone());
                }
                "style:drawing-page-properties"
                    if attribute(element, "visibility").is_some_and(|it| it == "hidden") =>
                {
                    self.hidden_slides.insert(name.clone());
                }
                _ => {}
            }
        })
    }

    /// `true` for a paragraph style that is derived from that of titles.
    pub(super) fn is_title(&self, style: &str) -> bool {
        let mut style = style;
        for _ in 0..MAX_PARENTS {
            if style == TITLE {
                return true;
            }
            let Some(parent) = self.parents.get(style) else { return false };
            style = parent;
        }
        false
    }

    /// `true` for an element whose content is not displayed.
    pub(super) fn is_hidden(&self, element: &BytesStart<'_>) -> bool {
        let style = || attribute(element, "style-name").unwrap_or_default();
        match element.name().as_ref() {
            "text:span" => self.hidden_texts.contains(&style()),
            "text:section" => is_undisplayed(element),
            _ => false,
        }
    }

    /// `true` for a slide that is skipped when the presentation is shown.
    pub(crate) fn is_hidden_slide(&self, element: &BytesStart<'_>) -> bool {
        attribute(element, "style-name").is_some_and(|style| self.hidden_slides.contains(&style))
    }
}

fn is_undisplayed(element: &BytesStart<'_>) -> bool {
    attribute(element, "display").is_some_and(|display| display == "none")
}
