//! The macros of man(7).

use crate::extract::roff::reader::{NextLine, RoffReader};

impl RoffReader {
    /// `.TH TITLE SECTION DATE SOURCE MANUAL`
    pub(super) fn man_title(&mut self, rest: &str) {
        let arguments = self.arguments(rest);
        if let [title, section, ..] = &arguments[..] {
            self.title = Some(format!("{}({section})", title.to_lowercase()));
            self.document.add_metadata("section", section);
        }
        for (key, at) in [("modified", 2), ("source", 3), ("manual", 4)] {
            self.document.add_metadata(key, arguments.get(at).map_or("", String::as_str));
        }
    }

    pub(super) fn heading(&mut self, level: u8, rest: &str) {
        self.no_fill = false;
        self.next_line = None;
        self.builder.begin_heading(level);
        let words = self.arguments(rest).join(" ");
        if words.is_empty() {
            self.next_line = Some(NextLine::Heading(level));
        } else {
            self.builder.push_text(&words);
            self.builder.end_heading();
        }
    }

    /// Arguments in one font, separated by spaces.
    pub(super) fn single_font(&mut self, rest: &str) {
        let words = self.arguments(rest).join(" ");
        if words.is_empty() {
            return; // The font of the next line.
        }
        self.push_styled(&words);
    }

    /// Arguments in alternating fonts, without spaces between them.
    pub(super) fn alternating_fonts(&mut self, name: &str, rest: &str) {
        let arguments = self.arguments(rest);
        let words =
            if name == "OP" { format!("[{}]", arguments.join(" ")) } else { arguments.concat() };
        self.push_styled(&words);
    }

    pub(super) fn push_styled(&mut self, words: &str) {
        if self.no_fill {
            self.builder.begin_line();
        }
        self.push_words(words, true);
    }

    pub(super) fn document_link(&mut self, rest: &str) {
        let address = self.arguments(rest).concat();
        self.builder.push_text(&format!("<{address}>"));
        self.builder.separate();
    }
}
