//! Publications in XML: the running text of DocBook, TEI, JATS and DITA, with the titles of
//! sections as headings.
//!
//! The metadata of a publication gives its title, authors and date; of the rest, only the abstract
//! is text. Footnotes stand in brackets where they are referred to.

mod vocabulary;

use quick_xml::events::BytesStart;

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::language;
use crate::extract::xml_document::events::{Part, attribute, for_each};
use crate::extract::xml_document::publication::vocabulary::{Role, is_value, role};

pub(super) use vocabulary::is_likely;

/// Reads the publication.
///
/// # Errors
/// The message of the parser.
pub(super) fn read(xml: &str) -> Result<Document, String> {
    let mut reader = PublicationReader::default();
    for_each(xml, |part| match part {
        Part::Start(start) => reader.start(start),
        Part::End(name) => reader.end(name),
        Part::Text(text) | Part::Verbatim(text) => reader.text(&text),
    })?;
    Ok(reader.finish())
}

#[derive(Default)]
struct PublicationReader {
    builder: DocumentBuilder,
    /// Title, language and metadata.
    head: Document,
    /// The open elements.
    names: Vec<String>,
    roles: Vec<Role>,
    row_has_cell: bool,
    /// `true` directly after the bracket that begins a note.
    begins_note: bool,
    /// The text of the metadata element that is open.
    value: Option<String>,
}

impl PublicationReader {
    fn start(&mut self, element: &BytesStart<'_>) {
        let name = element.local_name();
        let name = name.as_ref();
        if self.names.is_empty() {
            let language = attribute(element, "lang");
            self.head.language = language.and_then(|language| language::iso_code(&language));
        }
        let parents: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let role = role(element, &parents);
        self.names.push(name.to_owned());
        self.roles.push(role);
        if self.is_in_info() {
            self.start_value(element, name);
        } else if !self.is_in(Role::Ignored) {
            self.start_text(role);
        }
    }

    fn start_value(&mut self, element: &BytesStart<'_>, name: &str) {
        if let Some(date) = attribute(element, "iso-8601-date") {
            self.head.add_metadata("created", &date);
        }
        if is_value(name) {
            self.value = Some(String::new());
        } else if let Some(value) = &mut self.value {
            value.push(' ');
        }
    }

    fn start_text(&mut self, role: Role) {
        match role {
            Role::Heading => self.builder.begin_heading(self.level()),
            Role::Section => self.builder.begin_block(),
            Role::Block | Role::Verbatim => self.begin_block(),
            Role::Item => self.builder.begin_item("-"),
            Role::Line => {
                self.builder.begin_line();
                self.row_has_cell = false;
            }
            Role::Cell => {
                if std::mem::replace(&mut self.row_has_cell, true) {
                    self.builder.push_text(" | ");
                }
            }
            Role::Note => {
                self.builder.push_text(" (");
                self.begins_note = true;
            }
            Role::Quote => self.builder.push_text("“"),
            Role::Info | Role::Ignored | Role::Inline => {}
        }
    }

    fn end(&mut self, name: &str) {
        let (is_in_info, is_ignored) = (self.is_in_info(), self.is_in(Role::Ignored));
        let Some(role) = self.roles.last().copied() else { return };
        if is_in_info {
            self.end_value(name);
        }
        self.names.pop();
        self.roles.pop();
        if is_in_info || is_ignored {
            return;
        }
        match role {
            Role::Heading => self.builder.end_heading(),
            Role::Section => self.builder.begin_block(),
            Role::Block | Role::Verbatim => self.begin_block(),
            Role::Item | Role::Line => self.builder.begin_line(),
            Role::Note => {
                self.builder.join();
                self.builder.push_text(")");
            }
            Role::Quote => self.builder.push_text("”"),
            Role::Cell | Role::Info | Role::Ignored | Role::Inline => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.is_in_info() {
            if let Some(value) = &mut self.value {
                value.push_str(text);
            }
            return;
        }
        if self.is_in(Role::Ignored) {
            return;
        }
        if self.is_in(Role::Verbatim) {
            return self.builder.push_verbatim(text);
        }
        let text = if self.begins_note { text.trim_start() } else { text };
        self.begins_note &= text.is_empty();
        self.builder.push_text(text);
    }

    fn is_in(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// `true` within metadata that is not text.
    fn is_in_info(&self) -> bool {
        self.is_in(Role::Info) && !self.names.iter().any(|name| name == "abstract")
    }

    /// The level of a heading here.
    fn level(&self) -> u8 {
        let sections = self.roles.iter().filter(|role| **role == Role::Section).count();
        u8::try_from(sections.clamp(1, 6)).unwrap_or(6)
    }

    /// Begins a block. Within cells and notes, blocks are parts of a line; within items, they are
    /// lines.
    fn begin_block(&mut self) {
        if self.is_in(Role::Cell) || self.is_in(Role::Note) {
            if !self.begins_note {
                self.builder.separate();
            }
        } else if self.is_in(Role::Item) {
            self.builder.begin_line();
        } else {
            self.builder.begin_block();
        }
    }

    /// Stores the value of a metadata element.
    fn end_value(&mut self, name: &str) {
        let Some(value) = self.value.take_if(|_| is_value(name)) else { return };
        let value = collapse_whitespace(&value);
        match name {
            _ if value.is_empty() => {}
            "author" | "contrib" => self.head.append_metadata("author", &value),
            "date" | "pubdate" => self.head.add_metadata("created", &value),
            "editor" => {}
            _ if self.level() > 1 => self.write_title(&value),
            _ if self.head.title.is_none() => {
                self.write_title(&value);
                self.head.title = Some(value);
            }
            // Titles of other works, such as the source of a transcription.
            _ => {}
        }
    }

    /// Writes the title in the metadata of a section as its heading.
    fn write_title(&mut self, title: &str) {
        self.builder.begin_heading(self.level());
        self.builder.push_text(title);
        self.builder.end_heading();
    }

    fn finish(self) -> Document {
        let Document { title, language, metadata, .. } = self.head;
        let body = self.builder.finish();
        let first = body.outline.first().filter(|heading| heading.level == 1);
        let title = title.or_else(|| first.map(|heading| heading.title.clone()));
        Document { title, language, metadata, ..body }
    }
}
