//! Manual pages: converts the source of man(7) and mdoc(7) to the displayed text, without line
//! filling.
//!
//! This is a parser of the macros that manual pages use, not a formatter. Fonts, indents and page
//! layout are ignored, conditions are evaluated as for a terminal, and macros that a page defines
//! are treated by their usual names. Lines with other requests are ignored.
//!
//! A page is parsed in time and memory linear in its size, whatever its content: conditions on one
//! line are evaluated in a loop, macros are never called, and the expansion of strings is bounded
//! ([`escape::StringRegisters`]).

mod characters;
mod escape;
mod man;
mod mdoc;
mod table;

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::roff::escape::StringRegisters;
use crate::extract::text::{decode, normalize_newlines};

pub(crate) const FORMAT: Format = Format {
    name: "manual page",
    media_types: &["text/troff"],
    version: 0,
    is_cached: true,
    has_titles_in_headings: false,
    parse: |bytes, _| extract(bytes).ok_or(ExtractErrorKind::NotText),
};

/// The document; `None` if the bytes are not text.
fn extract(bytes: &[u8]) -> Option<Document> {
    let source = decode(bytes, None)?;
    let source = normalize_newlines(&source);
    let mut page = RoffReader::new(source.len());
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if !is_continued(line) {
            page.read_line(line);
            continue;
        }
        let mut joined = line.to_owned();
        while is_continued(&joined) {
            let Some(more) = lines.next() else { break };
            joined.pop();
            joined.push_str(more);
        }
        page.read_line(&joined);
    }
    Some(page.finish())
}

/// `true` if a backslash at the end joins the next line to this one.
fn is_continued(line: &str) -> bool {
    line.ends_with('\\') && !line.ends_with("\\\\")
}

/// The treatment of the following lines.
#[derive(Default, PartialEq)]
enum LineMode {
    #[default]
    Text,
    /// Skips the body of a macro definition or ignored text, up to this line.
    Skip(String),
    /// Skips a branch whose condition is false, at this depth of braces.
    SkippedBranch(usize),
    /// A table: `false` before and `true` after the end of its format.
    Table(bool),
}

#[derive(Default)]
pub(super) struct RoffReader {
    builder: DocumentBuilder,
    strings: StringRegisters,
    mode: LineMode,
    /// `true` in blocks without filling.
    no_fill: bool,
    /// A heading, or the tag of a paragraph, whose text is on the next line.
    next_line: Option<NextLine>,
    /// The result of the last condition, for `.el`.
    last_condition: bool,
    /// The cells of an incomplete table row.
    row: Vec<String>,
    in_cell: bool,
    /// The name of the page in mdoc, which `.Nm` prints.
    name: String,
    title: Option<String>,
    document: Document,
}

#[derive(Clone, Copy, PartialEq)]
enum NextLine {
    Heading(u8),
    Tag,
}

impl RoffReader {
    /// `source` is the size of the source in bytes.
    fn new(source: usize) -> Self {
        Self { strings: StringRegisters::new(source), ..Self::default() }
    }

    /// Parses a line, in a loop over the conditions at its start.
    fn read_line(&mut self, line: &str) {
        let mut rest = Some(line);
        while let Some(line) = rest {
            rest = self.read_condition(line);
        }
    }

    /// Parses a line. The body of a true condition is returned, to be parsed as a line.
    fn read_condition<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        match &mut self.mode {
            LineMode::Skip(end) => {
                if line.trim_end() == end {
                    self.mode = LineMode::Text;
                }
                return None;
            }
            LineMode::SkippedBranch(depth) => {
                *depth += line.matches("\\{").count();
                *depth = depth.saturating_sub(line.matches("\\}").count());
                if *depth == 0 {
                    self.mode = LineMode::Text;
                }
                return None;
            }
            LineMode::Table(_) if !line.starts_with(".TE") => {
                self.table_line(line);
                return None;
            }
            LineMode::Table(_) | LineMode::Text => {}
        }
        let is_request = line.starts_with(['.', '\'']);
        if !is_request {
            self.text_line(line);
            return None;
        }
        let request = line[1..].trim_start();
        let end = request.find([' ', '\t']).unwrap_or(request.len());
        // A request may be directly followed by a comment: `.br\" why`.
        let name = request[..end].split('\\').next().unwrap_or_default();
        let rest = request[name.len()..].trim_start();
        if matches!(name, "if" | "ie" | "el") {
            return self.condition(name, rest);
        }
        self.request(name, rest);
        None
    }

    /// A line of text.
    fn text_line(&mut self, line: &str) {
        let text = self.strings.expand(line);
        if self.no_fill {
            self.builder.begin_line();
            if text.trim().is_empty() {
                self.builder.begin_block();
            } else {
                // The indent is kept.
                self.builder.push_verbatim(&text);
            }
            return;
        }
        if text.trim().is_empty() && line.trim().is_empty() {
            return self.builder.begin_block();
        }
        if line.starts_with(' ') {
            self.builder.begin_line();
        }
        self.push_words(&text, !line.ends_with("\\c"));
    }

    /// Writes running text; `apart` separates the next words from it.
    fn push_words(&mut self, text: &str, apart: bool) {
        self.builder.push_text(text);
        match self.next_line.take() {
            Some(NextLine::Heading(_)) => self.builder.end_heading(),
            Some(NextLine::Tag) => self.builder.begin_line(),
            None if apart => self.builder.separate(),
            None => {}
        }
    }

    fn request(&mut self, name: &str, rest: &str) {
        match name {
            "TH" => self.man_title(rest),
            "SH" | "Sh" => self.heading(1, rest),
            "SS" | "Ss" => self.heading(2, rest),
            "PP" | "P" | "LP" | "Pp" | "Sp" | "sp" | "RS" | "RE" | "SY" | "YS" | "Lp" => {
                self.builder.begin_block();
            }
            "br" | "Vb" | "Ve" | "Bl" | "El" | "Bd" | "Ed" | "nf" | "fi" | "EX" | "EE" => {
                self.layout_request(name);
            }
            "TP" => {
                self.builder.begin_block();
                self.next_line = Some(NextLine::Tag);
            }
            "TQ" => {
                self.builder.begin_line();
                self.next_line = Some(NextLine::Tag);
            }
            "IP" => {
                self.builder.begin_block();
                if let Some(tag) = self.arguments(rest).first() {
                    self.builder.push_text(tag);
                    self.builder.separate();
                }
            }
            "B" | "I" | "SM" | "SB" | "R" | "CW" => self.single_font(rest),
            "BR" | "BI" | "IB" | "IR" | "RB" | "RI" | "OP" => self.alternating_fonts(name, rest),
            "UR" | "MT" => self.document_link(rest),
            "UE" | "ME" => {
                let after = self.arguments(rest).concat();
                if !after.is_empty() {
                    self.builder.join();
                }
                self.builder.push_text(&after);
                self.builder.separate();
            }
            "TS" => {
                self.builder.begin_block();
                self.mode = LineMode::Table(false);
            }
            "TE" => self.end_table(),
            "de" | "de1" | "am" | "ig" => {
                let end = rest.split_whitespace().nth(usize::from(name != "ig"));
                self.mode = LineMode::Skip(format!(".{}", end.unwrap_or(".")));
            }
            "ds" | "ds1" | "as" => self.strings.define(rest, name == "as"),
            "so" => {
                self.builder.push_text(rest);
            }
            _ if mdoc::is_macro(name) => mdoc::line(self, name, rest),
            // Layout, registers, fonts, hyphenation, comments.
            _ => {}
        }
    }

    fn layout_request(&mut self, name: &str) {
        match name {
            "nf" | "EX" | "Vb" | "Bd" => {
                self.builder.begin_block();
                self.no_fill = true;
            }
            "fi" | "EE" | "Ve" | "Ed" => {
                self.no_fill = false;
                self.builder.begin_block();
            }
            "br" => self.builder.begin_line(),
            _ => self.builder.begin_block(),
        }
    }

    /// `.if CONDITION BODY`: `n` (a terminal) is true, and `!` negates. Returns the body if the
    /// condition is true.
    fn condition<'a>(&mut self, name: &str, rest: &'a str) -> Option<&'a str> {
        let (holds, body) = if name == "el" {
            (!self.last_condition, rest)
        } else {
            let (negated, rest) = match rest.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            let end = rest.find(' ').unwrap_or(rest.len());
            let end = rest[..end].find("\\{").unwrap_or(end);
            let holds = matches!(&rest[..end], "n" | "o" | "1") != negated;
            (holds, rest[end..].trim_start())
        };
        self.last_condition = holds;
        let block = body.strip_prefix("\\{");
        if !holds {
            let depth = body.matches("\\{").count().saturating_sub(body.matches("\\}").count());
            if block.is_some() && depth > 0 {
                self.mode = LineMode::SkippedBranch(depth);
            }
            return None;
        }
        let body = block.unwrap_or(body).trim_end_matches("\\}").trim();
        Some(body).filter(|body| !body.is_empty() && *body != "\\")
    }

    fn arguments(&mut self, rest: &str) -> Vec<String> {
        escape::arguments(rest).iter().map(|argument| self.strings.expand(argument)).collect()
    }

    fn finish(mut self) -> Document {
        self.end_table();
        let mut document = self.builder.finish();
        document.metadata = self.document.metadata;
        document.title =
            self.title.map(|title| collapse_whitespace(&title)).filter(|title| !title.is_empty());
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_man_page_reads_as_man_shows_it() {
        let page = br#".\" Copyright
.de XX
hidden
..
.TH OPEN 2 2023-02-05 "Linux man-pages 6.03"
.SH NAME
open, openat \- open and possibly create a file
.SH SYNOPSIS
.nf
.B #include <fcntl.h>
.PP
.BI "int open(const char *" pathname ", int " flags );
    indented;
.fi
.SH "SEE ALSO" \" comment
The
.BR open ()
system call\(emalso
.IR flags ,
\fBO_CREAT\fP \(aqx\(aq 1\e2.
.if t .B troff only
.ie n terminal
.el \{\
nothing
.\}
.TP
.B O_APPEND
The file is
.I opened
in append mode.
.IP \(bu 3
a bullet
.SS Notes
.TS
tab(:);
l l.
A:B
T{
long
.BR cell ()
T}:D
.TE
.UR http://example.org
site
.UE .
"#;
        let document = extract(page).unwrap();
        insta::assert_snapshot!(document.text, @r#"
        NAME

        open, openat - open and possibly create a file

        SYNOPSIS

        #include <fcntl.h>

        int open(const char *pathname, int flags);
            indented;

        SEE ALSO

        The open() system call—also flags, O_CREAT 'x' 1\2. terminal

        O_APPEND
        The file is opened in append mode.

        • a bullet

        Notes

        A | B
        long cell() | D

        <http://example.org> site.
        "#);
        assert_eq!(document.title.as_deref(), Some("open(2)"));
        assert_eq!(document.metadata["modified"], "2023-02-05");
        let outline: Vec<_> =
            document.outline.iter().map(|h| (h.level, h.title.as_str())).collect();
        assert_eq!(outline, [(1, "NAME"), (1, "SYNOPSIS"), (1, "SEE ALSO"), (2, "Notes")]);
    }

    #[test]
    fn an_mdoc_page_reads_as_man_shows_it() {
        let page = br#".Dd June 1, 2020
.Dt LS 1
.Os
.Sh NAME
.Nm ls
.Nd list directory contents
.Sh SYNOPSIS
.Nm
.Op Fl AB
.Op Ar
.Sh DESCRIPTION
For each operand
.Nm
displays it, see
.Xr stat 2 .
.Bl -tag -width indent
.It Fl A
List all entries.
.It Pa /etc
A
.Dq quoted word .
.El
"#;
        let document = extract(page).unwrap();
        insta::assert_snapshot!(document.text, @r#"
        NAME

        ls – list directory contents

        SYNOPSIS

        ls [-AB] [file ...]

        DESCRIPTION

        For each operand ls displays it, see stat(2).

        -A
        List all entries.

        /etc
        A “quoted word”.
        "#);
        assert_eq!(document.title.as_deref(), Some("ls(1)"));
    }

    #[test]
    fn odd_input_comes_to_an_end() {
        for page in [
            ".",
            "'",
            ".TS",
            ".if",
            ".if n",
            ".ie t \\{",
            ".SH",
            "\\",
            ".de",
            "\\*",
            "\\(",
            "\\[x",
            ".TP",
            "\\f",
            ".IP \"",
            ".ds",
            ".el",
        ] {
            extract(page.as_bytes()).unwrap();
        }
    }
}
