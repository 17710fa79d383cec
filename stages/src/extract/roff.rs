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
mod reader;
mod requests;
mod table;

use crate::extract::document::Document;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::roff::reader::RoffReader;
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
