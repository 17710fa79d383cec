//! Interprets the tokens of an RTF file: groups, destinations, characters and properties.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

use encoding_rs::{Encoding, WINDOWS_1252};

use crate::extract::error::ExtractErrorKind;
use crate::extract::package::corrupt;
use crate::extract::rtf::body::{Body, ParagraphKind};
use crate::extract::rtf::charset::special_character;
use crate::extract::rtf::destination::{Destination, InfoKey, destination_of};
use crate::extract::rtf::fonts::Fonts;
use crate::extract::rtf::info::Info;
use crate::extract::rtf::styles::{Style, Styles, level_of_outline};
use crate::extract::rtf::token::{Token, Tokens};

/// The code page of `\mac`.
const MACINTOSH_CODE_PAGE: i32 = 10_000;

/// Groups that may be open at a time. Documents nest a few dozen.
const MAX_DEPTH: usize = 10_000;

/// What a group inherits from its parent, and restores at its end.
#[derive(Clone, Copy)]
struct State {
    destination: Destination,
    /// The destination around the ignored group.
    outer: Destination,
    /// `true` in a text box in a cell.
    in_cell_box: bool,
    encoding: &'static Encoding,
    /// Number of characters that follow `\u` for programs that do not know it.
    fallback_length: usize,
    /// Hidden, or deleted by a tracked change.
    is_hidden: bool,
    kind: ParagraphKind,
}

/// Reads a file.
pub(super) struct Reader {
    pub(super) body: Body,
    pub(super) info: Info,
    state: State,
    /// The states of the open groups around the current one.
    parents: Vec<State>,
    fonts: Fonts,
    styles: Styles,
    style: Style,
    /// Number of groups that are open at the start of the style sheet.
    style_sheet_depth: usize,
    /// `true` after `\*`: an unknown destination that follows is ignored.
    is_optional: bool,
    /// Characters to ignore after `\u`.
    fallback: usize,
    /// Bytes that are not decoded yet; a character may have several.
    bytes: Vec<u8>,
    high_surrogate: Option<u16>,
}

impl Reader {
    pub(super) fn new() -> Self {
        let state = State {
            destination: Destination::Body,
            outer: Destination::Body,
            in_cell_box: false,
            encoding: WINDOWS_1252,
            fallback_length: 1,
            is_hidden: false,
            kind: ParagraphKind::default(),
        };
        Self {
            body: Body::default(),
            info: Info::default(),
            state,
            parents: Vec::new(),
            fonts: Fonts::new(),
            styles: Styles::default(),
            style: Style::default(),
            style_sheet_depth: 0,
            is_optional: false,
            fallback: 0,
            bytes: Vec::new(),
            high_surrogate: None,
        }
    }

    /// Reads the first group of a file; the rest is not a part of the document.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), ExtractErrorKind> {
        for token in Tokens::new(bytes) {
            if !matches!(token, Token::Byte(_) | Token::Text(_)) {
                self.flush();
            }
            match token {
                Token::Open => self.open()?,
                Token::Close => {
                    self.close();
                    if self.parents.is_empty() {
                        break;
                    }
                }
                Token::Word(word, parameter) => self.word(word, parameter),
                Token::Symbol(symbol) => self.symbol(symbol),
                Token::Byte(byte) => self.text(&[byte]),
                Token::Text(text) => self.text(text),
            }
        }
        self.flush();
        self.body.finish();
        Ok(())
    }

    fn open(&mut self) -> Result<(), ExtractErrorKind> {
        self.fallback = 0;
        self.is_optional = false;
        if self.parents.len() == MAX_DEPTH {
            return Err(corrupt("groups are nested too deeply"));
        }
        self.parents.push(self.state);
        if self.is_style() {
            self.style = Style::default();
        }
        Ok(())
    }

    /// `true` if the current group defines a style.
    fn is_style(&self) -> bool {
        self.state.destination == Destination::StyleSheet
            && self.parents.len() == self.style_sheet_depth + 1
    }

    fn close(&mut self) {
        self.fallback = 0;
        self.is_optional = false;
        if self.is_style() {
            self.styles.add(&std::mem::take(&mut self.style));
        }
        if let Some(parent) = self.parents.pop() {
            let ended = std::mem::replace(&mut self.state, parent).destination;
            if ended != parent.destination {
                self.info.end_field(ended);
            }
        }
    }

    /// Bytes of text in the current encoding.
    fn text(&mut self, bytes: &[u8]) {
        self.is_optional = false;
        let ignored = self.fallback.min(bytes.len());
        self.fallback -= ignored;
        self.bytes.extend_from_slice(&bytes[ignored..]);
    }

    /// Decodes the bytes so far.
    fn flush(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let (text, _) = self.state.encoding.decode_without_bom_handling(&bytes);
        self.push(&text);
    }

    /// Adds text to the current destination.
    fn push(&mut self, text: &str) {
        match self.state.destination {
            Destination::Body if !self.state.is_hidden => self.body.text.push_str(text),
            Destination::Note if !self.state.is_hidden => self.body.push_note(text),
            Destination::Info(_) => self.info.push(text),
            Destination::StyleSheet => self.style.name.push_str(text),
            Destination::Marker => self.body.has_marker |= !text.trim().is_empty(),
            _ => {}
        }
    }

    fn symbol(&mut self, symbol: u8) {
        if self.fallback > 0 {
            self.fallback -= 1;
            return;
        }
        match symbol {
            b'*' => self.is_optional = true,
            b'~' => self.push("\u{a0}"),
            b'_' => self.push("-"),
            b'\r' | b'\n' => self.end_paragraph(),
            b'\\' | b'{' | b'}' => self.push(char::from(symbol).encode_utf8(&mut [0; 4])),
            _ => {}
        }
    }

    fn word(&mut self, word: &str, parameter: Option<i32>) {
        let is_fallback = self.fallback > 0;
        self.fallback = self.fallback.saturating_sub(1);
        let is_optional = std::mem::take(&mut self.is_optional);
        if let Some(found) = destination_of(word, is_optional) {
            return self.enter(found);
        }
        if let Some(text) = special_character(word) {
            if !is_fallback {
                self.push(text);
            }
            return;
        }
        match self.state.destination {
            Destination::FontTable => self.fonts.define(word, parameter),
            Destination::StyleSheet => self.style_word(word, parameter),
            Destination::Info(_) => {
                self.info.date_word(word, parameter);
                self.character_word(word, parameter);
            }
            Destination::Body | Destination::Note => {
                self.character_word(word, parameter);
                self.paragraph_word(word, parameter);
            }
            Destination::Marker
            | Destination::Outer
            | Destination::Ignored
            | Destination::Dropped => {
                self.character_word(word, parameter);
            }
        }
    }

    /// Begins a destination, unless the current one contains no text at all.
    fn enter(&mut self, found: Destination) {
        let current = self.state.destination;
        self.state.destination = match (current, found) {
            (Destination::Dropped, _) => Destination::Dropped,
            (_, Destination::Outer) => {
                self.state.in_cell_box = self.state.kind.in_table;
                self.state.outer
            }
            (Destination::Note, Destination::Marker) => Destination::Dropped,
            // Words such as `\title` have other meanings elsewhere.
            (Destination::Info(_), Destination::Info(_)) => found,
            (_, Destination::Info(key)) if key != InfoKey::Other => current,
            _ => found,
        };
        match self.state.destination {
            Destination::Ignored if current != Destination::Ignored => self.state.outer = current,
            Destination::Note if current == Destination::Body => self.body.begin_note(),
            Destination::StyleSheet => self.style_sheet_depth = self.parents.len(),
            Destination::Info(_) => self.info.begin_field(),
            _ => {}
        }
    }

    /// Control words of characters and of the document.
    fn character_word(&mut self, word: &str, parameter: Option<i32>) {
        match word {
            "u" => self.unicode(parameter.unwrap_or(0)),
            "uc" => {
                let length = parameter.and_then(|length| length.try_into().ok());
                self.state.fallback_length = length.unwrap_or(1);
            }
            "v" | "deleted" => self.state.is_hidden = parameter != Some(0),
            "plain" => {
                self.state.is_hidden = false;
                self.state.encoding = self.fonts.encoding(None);
            }
            "f" => self.state.encoding = self.fonts.encoding(Some(parameter.unwrap_or(0))),
            "deff" => self.fonts.set_default(parameter.unwrap_or(0)),
            "ansicpg" => self.state.encoding = self.fonts.set_code_page(parameter.unwrap_or(0)),
            "mac" => self.state.encoding = self.fonts.set_code_page(MACINTOSH_CODE_PAGE),
            _ => {}
        }
    }

    fn style_word(&mut self, word: &str, parameter: Option<i32>) {
        match word {
            "s" => self.style.number = parameter.unwrap_or(0),
            "sbasedon" => self.style.parent = parameter,
            "outlinelevel" => self.style.level = level_of_outline(parameter),
            _ => {}
        }
    }

    fn paragraph_word(&mut self, word: &str, parameter: Option<i32>) {
        let is_note = self.state.destination == Destination::Note;
        match word {
            "par" | "sect" | "page" | "row" | "cell" | "nestcell" | "line" | "softline"
                if is_note =>
            {
                self.push(" ");
            }
            "par" | "sect" | "page" => self.end_paragraph(),
            "line" | "softline" => self.push("\n"),
            "pard" => self.state.kind = ParagraphKind::default(),
            "s" => {
                self.state.kind.level = parameter.and_then(|it| self.styles.heading_level(it));
            }
            "outlinelevel" => self.state.kind.level = level_of_outline(parameter),
            "ls" => self.state.kind.is_item = parameter.is_some_and(|list| list > 0),
            "intbl" => self.state.kind.in_table = true,
            "itap" => self.state.kind.in_table = parameter.is_some_and(|depth| depth > 0),
            "trowd" => self.body.is_header_row = false,
            "trhdr" => self.body.is_header_row = true,
            "nestcell" => self.body.end_line_of_cell(),
            "cell" => self.body.end_cell(),
            "row" => self.body.end_row(),
            _ => {}
        }
    }

    fn end_paragraph(&mut self) {
        let in_table = self.state.kind.in_table || self.state.in_cell_box;
        if self.state.destination == Destination::Body {
            self.body.end_paragraph(ParagraphKind { in_table, ..self.state.kind });
        }
    }

    /// A UTF-16 code unit; values above 32,767 are written as negative numbers.
    fn unicode(&mut self, value: i32) {
        self.fallback = self.state.fallback_length;
        let unit = u16::try_from(value & 0xffff).unwrap_or_default();
        let high = self.high_surrogate.take();
        if (0xd800..0xdc00).contains(&unit) {
            self.high_surrogate = Some(unit);
            return;
        }
        let units: Vec<u16> = high.into_iter().chain([unit]).collect();
        let text = String::from_utf16_lossy(&units);
        self.push(&text);
    }
}
