//! What kind of file this is: by its name, by its first bytes, or by looking like text.
//!
//! The name decides where it is known: a `.docx` that is none shall fail as a broken DOCX, not pass as
//! something else. The first bytes overrule a name that claims text.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
pub(crate) const BINARY: &str = "application/octet-stream";
const PLAIN: &str = "text/plain";
const HTML: &str = "text/html";
const TROFF: &str = "text/troff";

/// By extension, in lower case; in its order.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("adoc", "text/asciidoc"),
    ("c", "text/x-c"),
    ("cc", "text/x-c"),
    ("cpp", "text/x-c"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("docx", DOCX),
    ("go", "text/x-go"),
    ("gz", "application/gzip"),
    ("h", "text/x-c"),
    ("hpp", "text/x-c"),
    ("htm", HTML),
    ("html", HTML),
    ("java", "text/x-java"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("log", PLAIN),
    ("markdown", "text/markdown"),
    ("md", "text/markdown"),
    ("mdown", "text/markdown"),
    ("pdf", "application/pdf"),
    ("pl", "text/x-perl"),
    ("py", "text/x-python"),
    ("rs", "text/x-rust"),
    ("rst", "text/x-rst"),
    ("sh", "text/x-shellscript"),
    ("sql", "application/sql"),
    ("tex", "text/x-tex"),
    ("text", PLAIN),
    ("toml", "application/toml"),
    ("ts", "text/x-typescript"),
    ("tsv", "text/tab-separated-values"),
    ("txt", PLAIN),
    ("xhtml", HTML),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
];

/// How much of a file is looked at to see whether it is text.
const LOOK_AT: usize = 8192;

/// The media type of a file.
pub fn of(path: &Path, bytes: &[u8]) -> &'static str {
    let extension = path.extension().unwrap_or_default().as_bytes().to_ascii_lowercase();
    let named = BY_EXTENSION
        .binary_search_by(|(known, _)| known.as_bytes().cmp(&extension))
        .map(|index| BY_EXTENSION[index].1);
    match named {
        Ok(named) if !named.starts_with("text/") => named,
        Ok(named) => infer::get(bytes).map(kind).filter(|found| !is_text(found)).unwrap_or(named),
        Err(_) => by_content(&extension, bytes),
    }
}

fn by_content(extension: &[u8], bytes: &[u8]) -> &'static str {
    if let Some(found) = infer::get(bytes) {
        return kind(found);
    }
    let head = &bytes[..bytes.len().min(LOOK_AT)];
    if extension.first().is_some_and(u8::is_ascii_digit) && looks_like_roff(head) {
        return TROFF;
    }
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return PLAIN;
    }
    // Text may hold a few control characters, but no NUL.
    let odd = head.iter().filter(|byte| is_odd(**byte)).count();
    if head.contains(&0) || odd * 32 > head.len() {
        return BINARY;
    }
    PLAIN
}

fn kind(found: infer::Type) -> &'static str {
    match found.mime_type() {
        // What some programs make of HTML and XML is of no use to us.
        "text/xml" => "application/xml",
        mime_type => mime_type,
    }
}

fn is_text(mime_type: &&'static str) -> bool {
    mime_type.starts_with("text/") || *mime_type == "application/xml"
}

/// Whether the lines at the beginning are those of a manual page.
fn looks_like_roff(head: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 6] = [b".\\\"", b"'\\\"", b".TH", b".Dd", b".so ", b".de"];
    let mut lines = head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.next().is_some_and(|line| BEGINNINGS.iter().any(|start| line.starts_with(start)))
}

fn is_odd(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x08 | 0x1b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(BY_EXTENSION.is_sorted());
    }

    #[test]
    fn names_and_contents() {
        let pdf = b"%PDF-1.7\n";
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
            ("a", b"\x89PNG\r\n\x1a\n", "image/png"),
        ] {
            assert_eq!(of(Path::new(name), bytes), expected, "{name}");
        }
    }
}
