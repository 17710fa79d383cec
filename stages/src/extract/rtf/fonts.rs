//! The encodings of an RTF file: that of the document, and those of its fonts.

use std::collections::HashMap;

use encoding_rs::{Encoding, WINDOWS_1252};

use crate::extract::rtf::charset::{by_character_set, by_code_page};

/// The font table, and the code page of the document.
pub(super) struct Fonts {
    document: &'static Encoding,
    encodings: HashMap<i32, &'static Encoding>,
    default: i32,
    /// The font that the table defines.
    current: i32,
}

impl Fonts {
    pub(super) fn new() -> Self {
        Self { document: WINDOWS_1252, encodings: HashMap::new(), default: 0, current: 0 }
    }

    /// Reads a control word of the font table.
    pub(super) fn define(&mut self, word: &str, parameter: Option<i32>) {
        let encoding = match word {
            "f" => {
                self.current = parameter.unwrap_or(0);
                return;
            }
            "fcharset" => parameter.and_then(by_character_set),
            "cpg" => parameter.and_then(by_code_page),
            _ => None,
        };
        if let Some(encoding) = encoding {
            self.encodings.insert(self.current, encoding);
        }
    }

    pub(super) fn set_default(&mut self, font: i32) {
        self.default = font;
    }

    /// Sets the encoding of the document by its code page, and returns it.
    pub(super) fn set_code_page(&mut self, number: i32) -> &'static Encoding {
        self.document = by_code_page(number).unwrap_or(WINDOWS_1252);
        self.document
    }

    /// The encoding of text in a font; `None` is the default font.
    pub(super) fn encoding(&self, font: Option<i32>) -> &'static Encoding {
        self.encodings.get(&font.unwrap_or(self.default)).copied().unwrap_or(self.document)
    }
}
