//! XML as data: each element is a line with its name, its attributes in brackets and its text, or
//! with the lines of its children below it.
//!
//! An element within text, such as emphasis in a sentence, is part of that text: its name and its
//! attributes are left out.

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::tree::TreeWriter;
use crate::extract::xml_document::events::{Part, attributes, for_each};

/// Reads the document.
///
/// # Errors
/// The message of the parser.
pub(super) fn read(xml: &str) -> Result<Document, String> {
    let mut reader = DataReader::default();
    reader.tree.begin_object(None);
    for_each(xml, |part| match part {
        Part::Start(start) => {
            let name = start.local_name();
            reader.start(name.as_ref(), &attributes(start));
        }
        Part::End(_) => reader.end(),
        Part::Text(text) => reader.text(&text, false),
        Part::Verbatim(text) => reader.text(&text, true),
    })?;
    Ok(reader.tree.finish())
}

#[derive(Default)]
struct DataReader {
    tree: TreeWriter,
    elements: Vec<Element>,
    /// Number of open elements within text.
    within_text: usize,
}

/// An open element.
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    /// `true` if the white space of the text counts.
    is_verbatim: bool,
    /// `true` if its children are written below it.
    has_children: bool,
}

impl DataReader {
    fn start(&mut self, name: &str, attributes: &[(String, String)]) {
        if self.within_text > 0 || self.elements.last().is_some_and(Element::has_text) {
            self.within_text += 1;
            return self.separate();
        }
        if let Some(parent) = self.elements.last_mut()
            && !parent.has_children
        {
            parent.has_children = true;
            self.tree.begin_element(&parent.label());
            for (key, value) in &parent.attributes {
                self.tree.name(key, value);
            }
        }
        self.elements.push(Element {
            name: name.to_owned(),
            attributes: attributes.to_vec(),
            text: String::new(),
            is_verbatim: false,
            has_children: false,
        });
    }

    fn end(&mut self) {
        if self.within_text > 0 {
            self.within_text -= 1;
            return self.separate();
        }
        let Some(element) = self.elements.pop() else { return };
        let text = element.trimmed_text();
        if !element.has_children {
            self.tree.name(&element.name, &text);
            self.tree.string(Some(&element.label()), &text);
            return;
        }
        if !text.is_empty() {
            self.tree.string(Some("text"), &text);
        }
        self.tree.end();
    }

    fn text(&mut self, text: &str, is_verbatim: bool) {
        if let Some(element) = self.elements.last_mut() {
            if element.text.ends_with(SEPARATOR) {
                element.text.pop();
                let joins = element.text.ends_with(char::is_alphanumeric)
                    && text.starts_with(char::is_alphanumeric);
                if joins {
                    element.text.push(' ');
                }
            }
            element.text.push_str(text);
            element.is_verbatim |= is_verbatim;
        }
    }

    /// Separates the words before and after the tag of an element within text.
    fn separate(&mut self) {
        if let Some(element) = self.elements.last_mut()
            && !element.text.ends_with(SEPARATOR)
        {
            element.text.push(SEPARATOR);
        }
    }
}

/// Marks the place of a tag within text, until the next text.
const SEPARATOR: char = '\u{0}';

impl Element {
    fn has_text(&self) -> bool {
        !self.text.trim().is_empty()
    }

    /// The name, with the attributes in brackets.
    fn label(&self) -> String {
        if self.attributes.is_empty() {
            return self.name.clone();
        }
        let attributes = self.attributes.iter().map(|(key, value)| format!("{key}={value}"));
        format!("{} ({})", self.name, attributes.collect::<Vec<_>>().join(", "))
    }

    fn trimmed_text(&self) -> String {
        let text = self.text.trim_end_matches(SEPARATOR);
        if self.is_verbatim { text.trim().to_owned() } else { collapse_whitespace(text) }
    }
}
