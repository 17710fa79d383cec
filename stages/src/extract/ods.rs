//! OpenDocument spreadsheets: ODS, and FODS in one XML file.
//!
//! The content is read as a stream. Cells have the text that was displayed last, so dates and
//! numbers need no formatting. Repeated rows are written once; hidden rows and columns are read
//! like others.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other variants are treated alike")]

mod open_sheet;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Cursor, Read as _};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::extract::document::{Document, DocumentBuilder, collapse_whitespace};
use crate::extract::error::ExtractErrorKind;
use crate::extract::format::Format;
use crate::extract::language;
use crate::extract::ods::open_sheet::OpenSheet;
use crate::extract::package::{corrupt, zip_error};
use crate::extract::sheet::WorkbookBudget;
use crate::extract::xml::{attribute, text_of};

pub(crate) const FORMAT: Format = Format {
    name: "ODS",
    media_types: &[
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.spreadsheet-flat-xml",
        "application/vnd.oasis.opendocument.spreadsheet-template",
    ],
    version: 1,
    is_cached: true,
    has_titles_in_headings: false,
    parse: extract,
};

/// Extracts the document; the parts that are read may unpack to at most `most` bytes each.
fn extract(bytes: &[u8], most: u64) -> Result<Document, ExtractErrorKind> {
    let mut reader = OdsReader::new(most);
    if bytes.starts_with(b"PK") {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| zip_error(&error))?;
        if is_encrypted(&mut archive, most)? {
            return Err(ExtractErrorKind::Encrypted);
        }
        for (part, is_required) in [("meta.xml", false), ("content.xml", true)] {
            match archive.by_name(part) {
                Ok(entry) => {
                    let mut content = entry.take(most);
                    reader.read(BufReader::new(&mut content))?;
                    if content.limit() == 0 {
                        return Err(ExtractErrorKind::unpack_limit(most));
                    }
                }
                Err(ZipError::FileNotFound) if !is_required => {}
                Err(ZipError::FileNotFound) => return Err(corrupt(format!("{part} is missing"))),
                Err(error) => return Err(zip_error(&error)),
            }
        }
    } else {
        reader.read(bytes)?;
    }
    Ok(reader.finish())
}

/// `true` if the manifest names the cipher of a part.
fn is_encrypted(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    most: u64,
) -> Result<bool, ExtractErrorKind> {
    let Ok(entry) = archive.by_name("META-INF/manifest.xml") else { return Ok(false) };
    let mut manifest = Vec::new();
    entry.take(most).read_to_end(&mut manifest).map_err(corrupt)?;
    Ok(manifest.windows(15).any(|window| window == b"encryption-data"))
}

struct OdsReader {
    builder: DocumentBuilder,
    budget: WorkbookBudget,
    /// Names of the styles of hidden sheets.
    hidden_styles: HashSet<String>,
    style: Option<String>,
    hidden: Vec<String>,
    sheet: Option<OpenSheet>,
    /// The property that is being read.
    property: Option<&'static str>,
    head: Document,
}

impl OdsReader {
    fn new(most: u64) -> Self {
        Self {
            builder: DocumentBuilder::default(),
            budget: WorkbookBudget::new(most),
            hidden_styles: HashSet::new(),
            style: None,
            hidden: Vec::new(),
            sheet: None,
            property: None,
            head: Document::default(),
        }
    }

    /// Reads a part. If it is corrupt after some sheets, those are kept.
    fn read(&mut self, part: impl BufRead) -> Result<(), ExtractErrorKind> {
        let (mut reader, mut buffer) = (Reader::from_reader(part), Vec::new());
        loop {
            buffer.clear();
            let event = match reader.read_event_into(&mut buffer) {
                Ok(event) => event,
                Err(error) => {
                    self.end_sheet()?;
                    let has_text = self.builder.len() > 0;
                    return if has_text { Ok(()) } else { Err(corrupt(error)) };
                }
            };
            match &event {
                Event::Start(element) => self.start(element),
                Event::Empty(element) => {
                    self.start(element);
                    self.end(element.name().as_ref())?;
                }
                Event::End(element) => self.end(element.name().as_ref())?,
                Event::Eof => return self.end_sheet(),
                event => self.text(&text_of(event).unwrap_or_default()),
            }
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        let name = element.name();
        let name = name.as_ref();
        match name {
            "style:style" => self.style = attribute(element, "name"),
            "style:table-properties" => {
                if attribute(element, "display").as_deref() == Some("false") {
                    self.hidden_styles.extend(self.style.clone());
                }
            }
            "table:table" if self.sheet.is_none() => self.begin_sheet(element),
            _ => match &mut self.sheet {
                Some(sheet) => sheet.start(name, element),
                None => self.property = property(name),
            },
        }
    }

    fn begin_sheet(&mut self, element: &BytesStart<'_>) {
        let name = collapse_whitespace(&attribute(element, "name").unwrap_or_default());
        let style = attribute(element, "style-name").unwrap_or_default();
        if self.hidden_styles.contains(&style) {
            self.hidden.push(name.clone());
        }
        self.sheet = Some(OpenSheet::new(name));
    }

    fn end(&mut self, name: &str) -> Result<(), ExtractErrorKind> {
        self.property = None;
        if name == "table:table" && self.sheet.as_ref().is_some_and(OpenSheet::is_outermost) {
            return self.end_sheet();
        }
        if let Some(sheet) = &mut self.sheet {
            sheet.end(name, &mut self.budget)?;
        }
        Ok(())
    }

    fn end_sheet(&mut self) -> Result<(), ExtractErrorKind> {
        let Some(sheet) = self.sheet.take() else { return Ok(()) };
        sheet.write(&mut self.builder, &mut self.budget)
    }

    fn text(&mut self, text: &str) {
        if let Some(property) = self.property {
            match property {
                "title" => self.head.title.get_or_insert_default().push_str(text),
                "language" => self.head.language = language::iso_code(text),
                property => self.head.add_metadata(property, text),
            }
        } else if let Some(sheet) = &mut self.sheet {
            sheet.text(text);
        }
    }

    fn finish(self) -> Document {
        let Document { title, language, mut metadata, .. } = self.head;
        if !self.hidden.is_empty() {
            metadata.insert("hidden_sheets".to_owned(), self.hidden.into());
        }
        let title = title.filter(|title| !title.trim().is_empty());
        Document { title, language, metadata, ..self.builder.finish() }
    }
}

/// The metadata key of an element.
fn property(name: &str) -> Option<&'static str> {
    Some(match name {
        "dc:title" => "title",
        "dc:language" => "language",
        "meta:initial-creator" => "author",
        "dc:creator" => "last_modified_by",
        "meta:creation-date" => "created",
        "dc:date" => "modified",
        "dc:description" => "description",
        "dc:subject" => "subject",
        "meta:keyword" => "keywords",
        _ => return None,
    })
}
