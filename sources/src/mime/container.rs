//! Formats whose container is a ZIP archive or an OLE compound file, told apart by content.

use crate::mime::{DOCX, OUTLOOK, PPTX, XLS, XLSB, XLSX, lookup};

const DOC: &str = "application/msword";
const PPT: &str = "application/vnd.ms-powerpoint";

/// Types by lower-case extension, sorted. A file with another container, or with none, has the type
/// of its content.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("doc", DOC),
    ("docm", "application/vnd.ms-word.document.macroenabled.12"),
    ("docx", DOCX),
    ("dot", DOC),
    ("dotm", "application/vnd.ms-word.template.macroenabled.12"),
    ("dotx", "application/vnd.openxmlformats-officedocument.wordprocessingml.template"),
    ("epub", "application/epub+zip"),
    ("key", "application/vnd.apple.keynote"),
    ("msg", OUTLOOK),
    ("numbers", "application/vnd.apple.numbers"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("otp", "application/vnd.oasis.opendocument.presentation-template"),
    ("ots", "application/vnd.oasis.opendocument.spreadsheet-template"),
    ("ott", "application/vnd.oasis.opendocument.text-template"),
    ("pages", "application/vnd.apple.pages"),
    ("pot", PPT),
    ("potm", "application/vnd.ms-powerpoint.template.macroenabled.12"),
    ("potx", "application/vnd.openxmlformats-officedocument.presentationml.template"),
    ("pps", PPT),
    ("ppsm", "application/vnd.ms-powerpoint.slideshow.macroenabled.12"),
    ("ppsx", "application/vnd.openxmlformats-officedocument.presentationml.slideshow"),
    ("ppt", PPT),
    ("pptm", "application/vnd.ms-powerpoint.presentation.macroenabled.12"),
    ("pptx", PPTX),
    ("xls", XLS),
    ("xlsb", XLSB),
    ("xlsm", "application/vnd.ms-excel.sheet.macroenabled.12"),
    ("xlsx", XLSX),
    ("xlt", XLS),
    ("xltm", "application/vnd.ms-excel.template.macroenabled.12"),
    ("xltx", "application/vnd.openxmlformats-officedocument.spreadsheetml.template"),
];

/// Beginnings of types whose container can only be a ZIP archive: a file without one is damaged.
const ONLY_IN_ZIP: &[&str] = &[
    "application/epub+zip",
    "application/vnd.oasis.opendocument.",
    "application/vnd.openxmlformats-officedocument.",
];

/// The archive member that identifies an Office document, its type, and the beginnings of the types
/// of templates, slide shows and documents with macros, which have the same member.
const OFFICE_PARTS: &[(&[u8], &str, &[&str])] = &[
    (
        b"word/document.xml",
        DOCX,
        &[
            "application/vnd.openxmlformats-officedocument.wordprocessingml.",
            "application/vnd.ms-word.",
        ],
    ),
    (
        b"ppt/presentation.xml",
        PPTX,
        &[
            "application/vnd.openxmlformats-officedocument.presentationml.",
            "application/vnd.ms-powerpoint.",
        ],
    ),
    (
        b"xl/workbook.xml",
        XLSX,
        &[
            "application/vnd.openxmlformats-officedocument.spreadsheetml.",
            "application/vnd.ms-excel.sheet.macroenabled.",
            "application/vnd.ms-excel.template.",
        ],
    ),
    (b"xl/workbook.bin", XLSB, &[]),
];

/// The types that the first member of an archive, `mimetype`, may declare. A type comes before its
/// prefixes.
const DECLARED: &[&str] = &[
    "application/epub+zip",
    "application/vnd.oasis.opendocument.presentation-template",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet-template",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text-template",
    "application/vnd.oasis.opendocument.text",
];

/// The streams of a compound file that identify its type.
const STREAMS: &[(&str, &str)] = &[
    ("WordDocument", DOC),
    ("PowerPoint Document", PPT),
    ("Workbook", XLS),
    ("Book", XLS),
    ("__properties_version1.0", OUTLOOK),
];

const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
const OLE_MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Bytes at the end of an archive, where its directory is, that are searched for Office members.
const ZIP_DIRECTORY_BYTES: usize = 256 << 10;

/// The size of an entry of the directory of a compound file. Entries begin at its multiples.
const OLE_ENTRY_BYTES: usize = 128;

/// The type of a file with a container; `None` if the file has none, or an unknown one. Content of
/// a known type overrules the extension, except that an extension tells templates from documents.
pub(super) fn detect(extension: &[u8], bytes: &[u8]) -> Option<&'static str> {
    let named = lookup(BY_EXTENSION, extension);
    let found = if bytes.starts_with(ZIP_MAGIC) {
        declared_type(bytes).or_else(|| office_type(bytes, named))
    } else if bytes.starts_with(OLE_MAGIC) {
        compound_type(bytes, named)
    } else {
        let is_damaged = |named: &&str| {
            ONLY_IN_ZIP.iter().any(|start| named.starts_with(start)) && infer::get(bytes).is_none()
        };
        return named.filter(is_damaged);
    };
    found.or(named)
}

/// The type that the first member of an archive declares. It is not compressed.
fn declared_type(bytes: &[u8]) -> Option<&'static str> {
    const NAME: &[u8] = b"mimetype";
    const NAME_AT: usize = 30;
    let length =
        |at: usize| Some(usize::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let (name_length, extra_length) = (length(26)?, length(28)?);
    if name_length != NAME.len() || !bytes.get(NAME_AT..)?.starts_with(NAME) {
        return None;
    }
    let content = bytes.get(NAME_AT + name_length + extra_length..)?;
    DECLARED.iter().find(|declared| content.starts_with(declared.as_bytes())).copied()
}

/// The type of an Office document, from the names in the archive's directory.
fn office_type(bytes: &[u8], named: Option<&'static str>) -> Option<&'static str> {
    let directory = &bytes[bytes.len().saturating_sub(ZIP_DIRECTORY_BYTES)..];
    let (_, kind, variants) = OFFICE_PARTS.iter().find(|(part, ..)| {
        let first = part[0];
        let mut starts = directory.iter().enumerate().filter(|(_, byte)| **byte == first);
        starts.any(|(at, _)| directory[at..].starts_with(part))
    })?;
    let is_variant = |named: &&str| variants.iter().any(|start| named.starts_with(start));
    Some(named.filter(is_variant).unwrap_or(kind))
}

/// The type of a compound file, from the names of its streams. A document may contain another one
/// with its streams, so the extension decides if it is one of their types.
fn compound_type(bytes: &[u8], named: Option<&'static str>) -> Option<&'static str> {
    let mut first = None;
    for entry in bytes.chunks_exact(OLE_ENTRY_BYTES) {
        let stream = STREAMS.iter().position(|(name, _)| is_stream(entry, name));
        let Some(stream) = stream else { continue };
        if named == Some(STREAMS[stream].1) {
            return named;
        }
        first = Some(first.map_or(stream, |first: usize| first.min(stream)));
    }
    first.map(|first| STREAMS[first].1)
}

/// `true` if an entry of the directory is a stream with this name, which is in UTF-16.
fn is_stream(entry: &[u8], name: &str) -> bool {
    const LENGTH_AT: usize = 64;
    const TYPE_AT: usize = 66;
    const STREAM: u8 = 2;
    let length = 2 * (name.len() + 1);
    usize::from(entry[LENGTH_AT]) == length
        && entry[TYPE_AT] == STREAM
        && name.bytes().zip(entry.chunks_exact(2)).all(|(byte, unit)| unit == [byte, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        assert!(BY_EXTENSION.is_sorted());
    }

    /// A compound file whose directory has these streams.
    fn compound(streams: &[&str]) -> Vec<u8> {
        let mut bytes = OLE_MAGIC.to_vec();
        bytes.resize(512, 0);
        for name in streams {
            let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            entry.resize(OLE_ENTRY_BYTES, 0);
            entry[64] = u8::try_from(2 * (name.len() + 1)).unwrap();
            entry[66] = 2;
            bytes.extend(entry);
        }
        bytes
    }

    fn archive(first: &str, content: &str, names: &str) -> Vec<u8> {
        let mut bytes = ZIP_MAGIC.to_vec();
        bytes.resize(26, 0);
        bytes.extend([u8::try_from(first.len()).unwrap(), 0, 0, 0]);
        bytes.extend(format!("{first}{content}PK\x01\x02{names}").bytes());
        bytes
    }

    #[test]
    fn content_overrules_the_extension() {
        let odt = archive("mimetype", "application/vnd.oasis.opendocument.text", "content.xml");
        let ott = archive("mimetype", "application/vnd.oasis.opendocument.text-template", "");
        let pptx = archive("[Content_Types].xml", "", "ppt/presentation.xml");
        let word = compound(&["1Table", "WordDocument"]);
        let sheet_with_word = compound(&["Workbook", "WordDocument"]);
        for (extension, bytes, expected) in [
            ("docx", odt.as_slice(), Some("application/vnd.oasis.opendocument.text")),
            ("", &ott, Some("application/vnd.oasis.opendocument.text-template")),
            ("pptx", &pptx, Some(PPTX)),
            ("", &pptx, Some(PPTX)),
            ("odp", &pptx, Some(PPTX)),
            (
                "ppsx",
                &pptx,
                Some("application/vnd.openxmlformats-officedocument.presentationml.slideshow"),
            ),
            ("docx", &word, Some(DOC)),
            ("", &word, Some(DOC)),
            ("xls", &sheet_with_word, Some(XLS)),
            ("docx", &compound(&["EncryptedPackage"]), Some(DOCX)),
            ("pptx", b"not a zip", Some(PPTX)),
            ("docx", b"{\\rtf1 text}", None),
            ("xlsx", &archive("a.xml", "", "xl/workbook.bin"), Some(XLSB)),
            ("ppt", b"plain", None),
            ("pages", b"plain", None),
            ("", &archive("a.txt", "text", "a.txt"), None),
        ] {
            assert_eq!(detect(extension.as_bytes(), bytes), expected, "{extension}");
        }
    }
}
