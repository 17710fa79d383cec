//! The package document of a book (OPF): metadata, manifest and spine.

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::language;
use crate::extract::package::resolve;
use crate::extract::xml::{attribute, for_each_event, for_each_field};

/// The media type of the table of contents of EPUB 2.
const NCX: &str = "application/x-dtbncx+xml";

/// A file of the book.
#[derive(Default)]
pub(super) struct Item {
    /// Its name in the archive.
    pub(super) part: String,
    pub(super) media_type: String,
    /// `true` for a page with the table of contents.
    pub(super) is_contents: bool,
}

#[derive(Default)]
pub(super) struct PackageDocument {
    /// The files of the spine in reading order, each once.
    pub(super) spine: Vec<Item>,
    /// The name of the table of contents in the archive.
    pub(super) contents: Option<String>,
    title: Option<String>,
    language: Option<String>,
    /// Metadata keys and values, in order.
    fields: Vec<(&'static str, String)>,
}

impl PackageDocument {
    /// Parses the part with this name.
    pub(super) fn parse(xml: &str, part: &str) -> Result<Self, ExtractErrorKind> {
        let mut package = Self::default();
        for_each_field(xml, |element, text| package.read_metadata(element, text))?;
        let mut items: HashMap<String, Item> = HashMap::new();
        let (mut spine, mut guide) = (Vec::new(), None);
        for_each_event(xml, |event| {
            let Event::Start(element) = event else { return };
            let value = |name| attribute(element, name).unwrap_or_default();
            match element.local_name().as_ref() {
                "item" => {
                    let item = Item {
                        part: resolve(part, &value("href")),
                        media_type: value("media-type"),
                        is_contents: value("properties").split_whitespace().any(|it| it == "nav"),
                    };
                    if item.is_contents || item.media_type == NCX && package.contents.is_none() {
                        package.contents = Some(item.part.clone());
                    }
                    items.insert(value("id"), item);
                }
                "itemref" => spine.push(value("idref")),
                // With a fragment, the contents are only a part of a page.
                "reference" if value("type") == "toc" && !value("href").contains('#') => {
                    guide = Some(resolve(part, &value("href")));
                }
                _ => {}
            }
        })?;
        package.spine = spine.into_iter().filter_map(|id| items.remove(&id)).collect();
        for item in &mut package.spine {
            item.is_contents |= guide.as_ref() == Some(&item.part);
        }
        Ok(package)
    }

    fn read_metadata(&mut self, element: &BytesStart<'_>, text: &str) {
        let key = match element.local_name().as_ref() {
            "title" => {
                self.title.get_or_insert_with(|| collapse_whitespace(text));
                return;
            }
            "language" => {
                self.language = self.language.take().or_else(|| language::iso_code(text));
                return;
            }
            "creator" => "author",
            "subject" => "keywords",
            "description" => "description",
            "publisher" => "publisher",
            "date" => "created",
            "meta" if attribute(element, "property").is_some_and(|it| it == "dcterms:modified") => {
                "modified"
            }
            _ => return,
        };
        self.fields.push((key, collapse_whitespace(text)));
    }

    /// Sets title and language, and adds the metadata. Several authors or keywords become a list.
    pub(super) fn add_metadata(&self, document: &mut Document) {
        document.title.clone_from(&self.title);
        document.language.clone_from(&self.language);
        for key in ["author", "keywords"] {
            let values = self.fields.iter().filter(|(known, _)| *known == key);
            let values: Vec<&str> = values.map(|(_, value)| value.as_str()).collect();
            document.add_metadata(key, &values.join(", "));
        }
        for (key, value) in &self.fields {
            document.add_metadata(key, value);
        }
    }
}
