//! The document information of an RTF file.

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::rtf::destination::{Destination, InfoKey};

/// The fields that were read.
#[derive(Default)]
pub(super) struct Info {
    fields: Vec<(InfoKey, String)>,
    text: String,
    date: Date,
}

/// Year, month, day, hour and minute.
#[derive(Default)]
struct Date([i32; 5]);

/// The control words of the parts of a date.
const DATE_WORDS: [&str; 5] = ["yr", "mo", "dy", "hr", "min"];

impl Info {
    /// Begins a field, without the text of unknown fields before it.
    pub(super) fn begin_field(&mut self) {
        self.text.clear();
    }

    /// Adds text to the open field.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Reads a part of the date of the open field.
    pub(super) fn date_word(&mut self, word: &str, parameter: Option<i32>) {
        if let Some(part) = DATE_WORDS.iter().position(|known| *known == word) {
            self.date.0[part] = parameter.unwrap_or(0);
        }
    }

    /// Completes the field of a destination, if it is one.
    pub(super) fn end_field(&mut self, destination: Destination) {
        let Destination::Info(key) = destination else { return };
        let text = std::mem::take(&mut self.text);
        let date = std::mem::take(&mut self.date);
        let is_date = matches!(key, InfoKey::Created | InfoKey::Modified);
        let value = if is_date { date.to_iso() } else { text };
        if !value.is_empty() {
            self.fields.push((key, value));
        }
    }

    /// Sets the title, and adds the metadata.
    pub(super) fn add_metadata(&self, document: &mut Document) {
        for (key, value) in &self.fields {
            let key = match key {
                InfoKey::Title => {
                    document.title = Some(collapse_whitespace(value));
                    continue;
                }
                InfoKey::Other => continue,
                InfoKey::Subject => "subject",
                InfoKey::Author => "author",
                InfoKey::Keywords => "keywords",
                InfoKey::Description => "description",
                InfoKey::LastModifiedBy => "last_modified_by",
                InfoKey::Created => "created",
                InfoKey::Modified => "modified",
            };
            document.add_metadata(key, value);
        }
    }
}

impl Date {
    /// The date without time zone, which RTF does not record; empty without a year.
    fn to_iso(&self) -> String {
        let [year, month, day, hour, minute] = self.0;
        if year == 0 {
            return String::new();
        }
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00")
    }
}
