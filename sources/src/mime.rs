//! Detects the media type of a file by its name, its first bytes, or by looking like text.
//!
//! A known extension decides: an invalid `.docx` must fail as a broken DOCX, not pass as something
//! else. The first bytes overrule an extension that claims text. Office documents and books, whose
//! container is a ZIP archive or a compound file, are told apart by their content. Formats without
//! an extractor have types, too, so that errors can name the format, and formats that only look
//! like text (mail with encoded attachments) are not treated as text.

mod code;
mod container;
mod markup;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const PPTX: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const XLSB: &str = "application/vnd.ms-excel.sheet.binary.macroenabled.12";
const XLS: &str = "application/vnd.ms-excel";
/// The type of content that no rule recognises; no extractor supports it.
pub const BINARY: &str = "application/octet-stream";
#[cfg(test)]
const ZIP: &str = "application/zip";
const COMPOUND: &str = "application/x-ole-storage";
const PLAIN: &str = "text/plain";
const HTML: &str = "text/html";
const XML: &str = "application/xml";
const TEX: &str = "text/x-tex";
const TROFF: &str = "text/troff";
const MAIL: &str = "message/rfc822";
const MAILBOX: &str = "application/mbox";
const OUTLOOK: &str = "application/vnd.ms-outlook";
const WEB_ARCHIVE: &str = "multipart/related";

/// Types by lower-case extension, sorted.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("adoc", "text/asciidoc"),
    ("csv", "text/csv"),
    ("eml", MAIL),
    ("fodp", "application/vnd.oasis.opendocument.presentation-flat-xml"),
    ("fods", "application/vnd.oasis.opendocument.spreadsheet-flat-xml"),
    ("fodt", "application/vnd.oasis.opendocument.text-flat-xml"),
    ("gz", "application/gzip"),
    ("htm", HTML),
    ("html", HTML),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("log", PLAIN),
    ("markdown", "text/markdown"),
    ("mbox", MAILBOX),
    ("md", "text/markdown"),
    ("mdown", "text/markdown"),
    ("mht", WEB_ARCHIVE),
    ("mhtml", WEB_ARCHIVE),
    ("pdf", "application/pdf"),
    ("rst", "text/x-rst"),
    ("tex", TEX),
    ("text", PLAIN),
    ("toml", "application/toml"),
    ("tsv", "text/tab-separated-values"),
    ("txt", PLAIN),
    ("xhtml", HTML),
    ("xml", XML),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
];

/// Bytes at the start of a file that are checked for text.
const SAMPLE_BYTES: usize = 8192;

/// The media type of a file; [`BINARY`] if unknown. `bytes` is its content, `path` only provides
/// the extension.
///
/// ```
/// use std::path::Path;
///
/// use sources::mime::{BINARY, detect};
///
/// assert_eq!(detect(Path::new("page.HTML"), b"<p>text"), "text/html");
/// assert_eq!(detect(Path::new("README"), b"plain text"), "text/plain");
/// assert_eq!(detect(Path::new("report.txt"), b"%PDF-1.7"), "application/pdf");
/// assert_eq!(detect(Path::new("build"), b"#!/usr/bin/env python3"), "text/x-python");
/// assert_eq!(detect(Path::new("core"), &[0, 159, 146, 150]), BINARY);
/// ```
pub fn detect(path: &Path, bytes: &[u8]) -> &'static str {
    let extension = path.extension().unwrap_or_default().as_bytes().to_ascii_lowercase();
    if let Some(found) = container::detect(&extension, bytes) {
        return found;
    }
    let of_code = code::by_name(path, &extension, bytes);
    let named = of_code.or_else(|| lookup(BY_EXTENSION, &extension));
    match named.or_else(|| markup::by_extension(&extension)) {
        Some(named) if !named.starts_with("text/") => named,
        // Translations of Qt, for example, have an extension of TypeScript.
        Some(_) if of_code.is_some() && bytes.starts_with(b"<?xml") => XML,
        Some(named) => {
            infer::get(bytes).map(inferred_type).filter(|found| !is_text(found)).unwrap_or(named)
        }
        None => by_content(&extension, bytes),
    }
}

/// Looks up an extension in a sorted table.
fn lookup(table: &[(&str, &'static str)], extension: &[u8]) -> Option<&'static str> {
    let index = table.binary_search_by(|(known, _)| known.as_bytes().cmp(extension));
    index.ok().map(|index| table[index].1)
}

fn by_content(extension: &[u8], bytes: &[u8]) -> &'static str {
    if let Some(script) = code::by_interpreter(bytes) {
        return script;
    }
    if let Some(found) = infer::get(bytes) {
        return inferred_type(found);
    }
    let head = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    if extension.first().is_some_and(u8::is_ascii_digit) && looks_like_roff(head) {
        return TROFF;
    }
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return PLAIN;
    }
    if let Some(mail) = mail_type(head) {
        return mail;
    }
    if let Some(markup) = markup::by_content(bytes) {
        return markup;
    }
    // Text may contain a few control characters, but no NUL.
    let odd = head.iter().filter(|byte| is_unusual_control(**byte)).count();
    if head.contains(&0) || odd * 32 > head.len() {
        return BINARY;
    }
    PLAIN
}

fn inferred_type(found: infer::Type) -> &'static str {
    match found.mime_type() {
        // The type of XML in the table of extensions.
        "text/xml" => XML,
        // `infer` reports this type for every compound file.
        "application/msword" => COMPOUND,
        mime_type => mime_type,
    }
}

fn is_text(mime_type: &&'static str) -> bool {
    mime_type.starts_with("text/") || *mime_type == XML
}

/// `true` if the first non-empty line looks like a manual page.
fn looks_like_roff(head: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 6] = [b".\\\"", b"'\\\"", b".TH", b".Dd", b".so ", b".de"];
    let mut lines = head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.next().is_some_and(|line| BEGINNINGS.iter().any(|start| line.starts_with(start)))
}

/// Recognises mail and mailboxes without an extension: the file starts with header fields, some of
/// which only mail programs write.
fn mail_type(head: &[u8]) -> Option<&'static str> {
    const OF_MAIL: [&[u8]; 5] =
        [b"received", b"return-path", b"message-id", b"mime-version", b"delivered-to"];
    const OF_ALL: [&[u8]; 4] = [b"from", b"date", b"subject", b"to"];
    let mut lines = head.split(|byte| *byte == b'\n').peekable();
    let is_box = lines.next_if(|line| line.starts_with(b"From ")).is_some();
    let (mut of_mail, mut of_all) = (0, 0);
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        // Indented lines continue a field.
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = line[..colon].to_ascii_lowercase();
        if !name.iter().all(|byte| byte.is_ascii_graphic()) {
            break;
        }
        of_mail += usize::from(OF_MAIL.contains(&name.as_slice()));
        of_all += usize::from(OF_ALL.contains(&name.as_slice()));
    }
    let is_mail = of_mail > 0 && of_all > 0 && of_mail + of_all > 2;
    is_mail.then_some(if is_box { MAILBOX } else { MAIL })
}

fn is_unusual_control(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x08 | 0x1b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        assert!(BY_EXTENSION.is_sorted());
    }

    #[test]
    fn names_and_contents() {
        let pdf = b"%PDF-1.7\n";
        let mail = b"Return-Path: <a@b.c>\r\nReceived: from x\r\n\tby y\r\nFrom: a\r\nSubject: b\r\n\r\nbody";
        let mailbox =
            b"From a@b.c Mon Jan  1 00:00:00 2024\nMessage-ID: <x>\nFrom: a\nDate: b\n\nbody";
        let memo = b"From: me\nTo: you\nSubject: trees\n\nnothing that a mail program wrote";
        let zip = b"PK\x03\x04 some part, which is not the declaration of a type, and at the end \
            the names: ppt/presentation.xml";
        let ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and so on";
        for (name, bytes, expected) in [
            ("a.md", b"# a".as_slice(), "text/markdown"),
            ("a.HTML", b"<p>", HTML),
            ("a", b"<!DOCTYPE html><p>", HTML),
            ("a.txt", b"plain", PLAIN),
            ("README", b"plain", PLAIN),
            ("a.txt", pdf, "application/pdf"),
            ("a", pdf, "application/pdf"),
            ("a.docx", b"not a zip", DOCX),
            ("open.2", b".\\\" comment\n.TH OPEN 2\n", TROFF),
            ("open.3ssl", b".TH X 3\n", TROFF),
            ("notes.2", b"just notes\n", PLAIN),
            ("open.2.gz", b"\x1f\x8b\x08", "application/gzip"),
            ("a.bin", b"\0\x01\x02", BINARY),
            ("utf16", b"\xff\xfea\0", PLAIN),
            ("a.eml", mail, MAIL),
            ("1700000.host:2,S", mail, MAIL),
            ("inbox", mailbox, MAILBOX),
            ("memo", memo, PLAIN),
            ("archive.txt", mail, PLAIN),
            ("a.pptx", b"PK\x03\x04", PPTX),
            ("a.odt", b"PK\x03\x04", "application/vnd.oasis.opendocument.text"),
            ("a.zip", b"PK\x03\x04 nothing of Office", ZIP),
            ("deck", zip, PPTX),
            ("a.msg", ole, "application/vnd.ms-outlook"),
            ("a.doc", ole, "application/msword"),
            ("of some kind", ole, COMPOUND),
            ("a.msg", b"a commit message", PLAIN),
            ("a.doc", b"plain, as of old", PLAIN),
            ("build", b"#!/usr/bin/env -S python3.11 -u\n", "text/x-python"),
            ("run", b"#!/bin/dash\n", "text/x-shellscript"),
            ("a.pl.in", b"#! /usr/bin/perl -w\n", "text/x-perl"),
            ("Makefile", b"all:\n", "text/x-makefile"),
            ("CMakeLists.txt", b"project(x)\n", "text/x-cmake"),
            ("a.TS", b"let x = 1;", "text/x-typescript"),
            ("de.ts", b"<?xml version='1.0'?><TS>", XML),
            ("a.m", b"#import <x.h>\n", "text/x-objective-c"),
            ("a.m", b"x = [1 2];\n", "text/x-matlab"),
            ("a.ipynb", b"{}", "application/x-ipynb+json"),
            ("state", b"{ \"a\": [1] }\n", "application/json"),
            ("state", b"{ a }\n", PLAIN),
            ("logo.svg", b"<?xml version='1.0'?><svg/>", "image/svg+xml"),
            ("a.csv", b"a;b\n", "text/csv"),
            ("a.csv", ole, COMPOUND),
            ("a.xls", ole, XLS),
            ("a.xls", b"a\tb\n", PLAIN),
            ("a.xlsx", ole, XLSX),
            ("a.xlsb", b"PK\x03\x04", XLSB),
            ("binary", b"PK\x03\x04 at the end xl/workbook.bin", XLSB),
            (
                "a.fods",
                b"<?xml version=\"1.0\"?>",
                "application/vnd.oasis.opendocument.spreadsheet-flat-xml",
            ),
            ("a.rtf", b"{\\rtf1\\ansi text}", "application/rtf"),
            ("a", b"\x89PNG\r\n\x1a\n", "image/png"),
        ] {
            assert_eq!(detect(Path::new(name), bytes), expected, "{name}");
        }
    }
}
