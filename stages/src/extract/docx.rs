//! Word documents (Office Open XML): the text of the body with its headings, lists, tables and
//! notes.
//!
//! Headers, footers, comments and deleted text are left out. The archive is read as a stream and
//! never unpacked beyond a limit, whatever sizes its directory declares.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

mod styles;
mod tables;

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::docx::styles::{heading_level, heading_levels};
use crate::extract::docx::tables::OpenTables;
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::ooxml;
use crate::extract::package::corrupt;
use crate::extract::xml::{attribute, for_each_event, text_of};

pub(crate) const FORMAT: Format = Format {
    name: "DOCX",
    media_types: &[
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
        "application/vnd.ms-word.document.macroenabled.12",
        "application/vnd.ms-word.template.macroenabled.12",
    ],
    version: 1,
    is_cached: true,
    has_titles_in_headings: true,
    parse: extract,
};

/// Extracts the document; the parts that are read may unpack to at most `most` bytes in total.
fn extract(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    let mut package = ooxml::open(bytes, most)?;
    let Some(body) = package.read_part("word/document.xml")? else {
        return Err(corrupt("word/document.xml is missing"));
    };
    let levels = match package.read_part("word/styles.xml")? {
        Some(styles) => heading_levels(&styles)?,
        None => HashMap::new(),
    };
    let mut body_of = Body { levels, ..Body::default() };
    body_of.read(&body)?;
    for notes in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(notes) = package.read_part(notes)? {
            body_of.read(&notes)?;
        }
    }
    let mut document = body_of.builder.finish();
    document.title = body_of.title;
    ooxml::read_properties(&mut package, &mut document)?;
    Ok(document)
}

/// Elements whose content is ignored: deleted or moved text, field codes, and alternative
/// renderings of content that is present already.
const IGNORED_ELEMENTS: &[&str] = &["del", "moveFrom", "instrText", "delInstrText", "Fallback"];

#[derive(Default)]
struct Body {
    builder: DocumentBuilder,
    levels: HashMap<String, u8>,
    title: Option<String>,
    /// Number of open ignored elements.
    ignored_depth: usize,
    /// Number of open property elements, in which `tab` is a tab stop.
    properties_depth: usize,
    in_text: bool,
    /// The open tables, in whose cells a paragraph is part of a row.
    tables: OpenTables,
    paragraph: Paragraph,
}

#[derive(Default)]
struct Paragraph {
    level: Option<u8>,
    is_item: bool,
    text: String,
}

impl Body {
    fn read(&mut self, xml: &str) -> Result<(), ExtractErrorKind> {
        for_each_event(xml, |event| match event {
            Event::Start(element) => self.start(element),
            Event::End(element) => self.end(element.local_name().as_ref()),
            event => {
                if self.in_text && self.ignored_depth == 0 {
                    self.paragraph.text.push_str(&text_of(event).unwrap_or_default());
                }
            }
        })?;
        self.tables.write(&mut self.builder);
        Ok(())
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        let name = element.local_name();
        let name = name.as_ref();
        if IGNORED_ELEMENTS.contains(&name) {
            self.ignored_depth += 1;
        }
        if self.ignored_depth > 0 {
            return;
        }
        match name {
            "p" => {
                // A text box nests paragraphs in a paragraph.
                self.write_paragraph();
                self.paragraph = Paragraph::default();
            }
            "pPr" | "rPr" | "tblPr" | "sectPr" => self.properties_depth += 1,
            "pStyle" => {
                let style = attribute(element, "val").unwrap_or_default();
                self.paragraph.level = self.levels.get(&style).copied();
            }
            "outlineLvl" => {
                self.paragraph.level = attribute(element, "val").as_deref().and_then(heading_level);
            }
            "numPr" => self.paragraph.is_item = true,
            "t" => self.in_text = true,
            "tab" | "ptab" if self.properties_depth == 0 => self.paragraph.text.push('\t'),
            "br" | "cr" if self.properties_depth == 0 => self.paragraph.text.push('\n'),
            "noBreakHyphen" => self.paragraph.text.push('-'),
            "footnoteReference" | "endnoteReference" => {
                let id = attribute(element, "id").unwrap_or_default();
                self.paragraph.text.push_str(&format!("[{id}]"));
            }
            "footnote" | "endnote" => {
                let id = attribute(element, "id").unwrap_or_default();
                if attribute(element, "type").is_none() {
                    self.builder.begin_block();
                    self.builder.push_text(&format!("[{id}] "));
                }
            }
            _ => self.tables.start(name, element),
        }
    }

    fn end(&mut self, name: &str) {
        if IGNORED_ELEMENTS.contains(&name) {
            self.ignored_depth = self.ignored_depth.saturating_sub(1);
            return;
        }
        if self.ignored_depth > 0 {
            return;
        }
        match name {
            "p" => {
                self.write_paragraph();
                self.paragraph = Paragraph::default();
            }
            "pPr" | "rPr" | "tblPr" | "sectPr" => {
                self.properties_depth = self.properties_depth.saturating_sub(1);
            }
            "t" => self.in_text = false,
            _ => self.tables.end(name, &mut self.builder),
        }
    }

    /// Writes the current paragraph.
    fn write_paragraph(&mut self) {
        let text = std::mem::take(&mut self.paragraph.text);
        if text.trim().is_empty() {
            return;
        }
        if self.tables.push_text(&text) {
            return;
        }
        if let Some(level) = self.paragraph.level {
            self.builder.begin_heading(level);
            self.builder.push_text(&text);
            self.builder.end_heading();
            if level == 1 && self.title.is_none() {
                self.title = Some(collapse_whitespace(&text));
            }
            return;
        }
        if self.paragraph.is_item {
            self.builder.begin_item("-");
        }
        for line in text.split('\n') {
            self.builder.push_text(line);
            self.builder.begin_line();
        }
        if !self.paragraph.is_item {
            self.builder.begin_block();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::extract::ole::OLE_MAGIC;

    const DOCUMENT: &str = r#"<?xml version="1.0"?><w:document xmlns:w="w"><w:body>
        <w:p><w:pPr><w:pStyle w:val="Kop1"/><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t>Trees &amp; shrubs</w:t></w:r></w:p>
        <w:p><w:r><w:t xml:space="preserve">One </w:t></w:r><w:r><w:t>bold</w:t></w:r><w:r><w:t>ly</w:t><w:br/><w:t>line</w:t><w:footnoteReference w:id="2"/></w:r>
          <w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>
        <w:p/>
        <w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr><w:r><w:t>Second</w:t></w:r></w:p>
        <w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>item</w:t></w:r></w:p>
        <w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>item</w:t></w:r></w:p>
        <w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p><w:p><w:r><w:t>c</w:t></w:r></w:p></w:tc></w:tr>
        <w:tr><w:tc><w:p><w:r><w:t>d</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
        <w:p><w:r><w:t>end&#33;</w:t></w:r></w:p></w:body></w:document>"#;
    const STYLES: &str = r#"<w:styles xmlns:w="w"><w:style w:styleId="Base"><w:name w:val="heading 1"/></w:style>
        <w:style w:styleId="Kop1"><w:name w:val="Kop"/><w:basedOn w:val="Base"/></w:style></w:styles>"#;
    const NOTES: &str = r#"<w:footnotes xmlns:w="w"><w:footnote w:type="separator" w:id="0"><w:p/></w:footnote>
        <w:footnote w:id="2"><w:p><w:r><w:t>a note</w:t></w:r></w:p></w:footnote></w:footnotes>"#;
    const CORE: &str = r#"<c:core xmlns:dc="d"><dc:title> On &lt;trees&gt; </dc:title><dc:creator>A. Author</dc:creator>
        <dcterms:created>2024-01-01T00:00:00Z</dcterms:created><dc:language>de-DE</dc:language></c:core>"#;

    fn package(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in parts {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn reads_body_notes_and_properties() {
        let bytes = package(&[
            ("word/document.xml", DOCUMENT.as_bytes()),
            ("word/styles.xml", STYLES.as_bytes()),
            ("word/footnotes.xml", NOTES.as_bytes()),
            ("docProps/core.xml", CORE.as_bytes()),
        ]);
        let document = extract(&bytes, 1 << 20).unwrap();
        insta::assert_snapshot!(document.text, @r#"
        Trees & shrubs

        One boldly
        line[2]

        Second

        - item
        - item

        | | |
        |-|-|
        | a | b c |
        | d |

        end!

        [2] a note
        "#);
        let outline: Vec<_> =
            document.outline.iter().map(|h| (h.level, h.title.as_str())).collect();
        assert_eq!(outline, [(1, "Trees & shrubs"), (2, "Second")]);
        assert_eq!(document.title.as_deref(), Some("On <trees>"));
        assert_eq!(document.language.as_deref(), Some("de"));
        assert_eq!(document.metadata["author"], "A. Author");
    }

    #[test]
    fn broken_and_boastful_files_are_set_aside() {
        let why = |bytes: &[u8]| extract(bytes, 1 << 20).unwrap_err().to_string();
        let whole = package(&[("word/document.xml", DOCUMENT.as_bytes())]);
        let encrypted: Vec<u8> =
            "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let found = [
            why(b"not a zip"),
            why(&whole[..whole.len() / 2]),
            why(&package(&[("a.txt", b"x")])),
            why(&package(&[("word/document.xml", b"<w:p><w:t></w:p>")])),
            why(&package(&[("word/document.xml", &vec![b' '; 5 << 20])])),
            why(&[OLE_MAGIC.as_slice(), &encrypted].concat()),
            why(&OLE_MAGIC),
        ];
        insta::assert_snapshot!(found.join("\n"), @r#"
        corrupt: not a ZIP archive, or truncated
        corrupt: not a ZIP archive, or truncated
        corrupt: word/document.xml is missing
        corrupt: ill-formed document: expected `</w:t>`, but `</w:p>` was found
        exceeds 1 MiB of unpacked content (a quarter of max_memory)
        encrypted
        corrupt: not a ZIP archive, or truncated
        "#);
    }
}
