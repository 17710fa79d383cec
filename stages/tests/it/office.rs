//! `extract` on office documents and books that other programs made, whole and damaged.
//! `tests/data/office/README.md` names the programs. Words such as `footnoteword` mark parts of
//! them.

use std::fmt::Write as _;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::UInt64Type;
use flate2::read::GzDecoder;
use pipeline::Outcome;
use pipeline::column::{LANGUAGE, METADATA, OUTLINE, PAGES, TABLES, TEXT, TITLE};
use pipeline::test_util::reasons;
use serde_json::json;
use sources::mime;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::extract::{texts, with_worker};
use crate::support::{files, run, stage};

/// The fixtures that can be read.
const READABLE: [&str; 11] = [
    "report.odt",
    "report.fodt",
    "report.rtf",
    "report.doc.gz",
    "deck.fodp",
    "slides.pptx",
    "slides-by-libreoffice.odp",
    "slides-by-libreoffice.pptx",
    "slides-by-libreoffice.ppt.gz",
    "book-2.epub",
    "book-3.epub",
];

/// The content of a fixture, and its name without `.gz`.
fn fixture(name: &str) -> (String, Vec<u8>) {
    let path = format!("{}/tests/data/office/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = fs_err::read(path).unwrap();
    let Some(unpacked) = name.strip_suffix(".gz") else { return (name.to_owned(), bytes) };
    let mut content = Vec::new();
    GzDecoder::new(bytes.as_slice()).read_to_end(&mut content).unwrap();
    (unpacked.to_owned(), content)
}

/// Extracts documents, with the types that a scan gives them.
fn extract(documents: &[(String, Vec<u8>)]) -> Outcome {
    let rows: Vec<(&str, &str, &[u8])> = documents
        .iter()
        .map(|(name, bytes)| {
            (name.as_str(), mime::detect(Path::new(name), bytes), bytes.as_slice())
        })
        .collect();
    let options = json!({ "max_seconds": 20, "max_memory": "256MiB" });
    run(&*stage("extract", options), &with_worker(), files(&rows))
}

/// Text and all else that `extract` gives for a row. `<<page>>` marks the start of a page, and
/// `<<table>>` that of a table; of the times, only those of the sources are shown.
fn shown(rows: &RecordBatch, row: usize) -> String {
    let language = LANGUAGE.of(rows).unwrap();
    let language = if language.is_valid(row) { language.value(row) } else { "-" };
    let metadata: serde_json::Value =
        serde_json::from_str(METADATA.of(rows).unwrap().value(row)).unwrap();
    let mut out = format!("{} | {language}\n", TITLE.of(rows).unwrap().value(row));
    for (key, value) in metadata.as_object().unwrap() {
        if key != "modified" || value.as_str().unwrap().starts_with("2024-01-02") {
            writeln!(out, "{key}: {value}").unwrap();
        }
    }
    let text = TEXT.of(rows).unwrap().value(row);
    let outline = OUTLINE.of(rows).unwrap().value(row);
    let outline = outline.as_struct();
    let at = outline.column_by_name("at").unwrap().as_primitive::<UInt64Type>();
    let titles = outline.column_by_name("title").unwrap().as_string::<i32>();
    let levels = outline.column_by_name("level").unwrap();
    for heading in 0..outline.len() {
        let level = arrow::util::display::array_value_to_string(levels, heading).unwrap();
        let at = usize::try_from(at.value(heading)).unwrap();
        let line = text[at..].lines().next().unwrap();
        writeln!(out, "heading {level}: {} ({line})", titles.value(heading)).unwrap();
    }
    let mut marks: Vec<(usize, &str)> = Vec::new();
    let pages = PAGES.of(rows).unwrap().value(row);
    for page in pages.as_primitive::<UInt64Type>().iter().flatten() {
        marks.push((usize::try_from(page).unwrap(), "<<page>>"));
    }
    let tables = TABLES.of(rows).unwrap().value(row);
    let starts = tables.as_struct().column_by_name("start").unwrap();
    for start in starts.as_primitive::<UInt64Type>().iter().flatten() {
        marks.push((usize::try_from(start).unwrap(), "<<table>>"));
    }
    marks.sort_unstable();
    let mut copied = 0;
    out.push('\n');
    for (at, mark) in marks {
        out.push_str(&text[copied..at]);
        out.push_str(mark);
        copied = at;
    }
    out + &text[copied..]
}

#[test]
fn documents_of_other_programs_are_read_whole() {
    let documents: Vec<_> = READABLE.iter().map(|name| fixture(name)).collect();
    let outcome = extract(&documents);
    assert_eq!(reasons(&outcome.rejected), []);
    for (row, name) in READABLE.iter().enumerate() {
        insta::assert_snapshot!(*name, shown(&outcome.rows, row));
    }
}

#[test]
fn every_planted_word_is_found_and_no_other() {
    let report = "authorword bodyword footnoteword endnoteword itemone itemnested itemtwo cellone \
        celltwo cellthree lastword";
    let deck = "authorword titleword openingbody noteword pointone pointtwo groupword cellone \
        celltwo hiddenslideword closingword";
    let slides = "authorword titleword lastslideword subtitleword noteword groupword \
        innergroupword cellone celltwo hiddenslideword";
    let new_book = "authorword titleword firstword secondword asideword footnoteword cellone \
        itemtwo publisherword";
    let left_out = "deletedword annotationword headerword footerword altword masterword navword";
    for name in READABLE {
        let outcome = extract(&[fixture(name)]);
        let found = shown(&outcome.rows, 0).to_lowercase();
        let planted = match name.split('.').next().unwrap() {
            "report" => report,
            "deck" => deck,
            "slides" | "slides-by-libreoffice" => slides,
            "book-3" => new_book,
            _ => "authorword aword bword",
        };
        if planted == slides {
            // Charts are objects of their own in ODP, and pictures in PPT.
            for word in ["seriesword", "categoryone", "categorytwo"] {
                assert_eq!(found.contains(word), name.ends_with(".pptx"), "{name}: {word}");
            }
        }
        if planted == report {
            // `undoc` does not read text boxes. Only OpenDocument marks generated indexes.
            assert_eq!(found.contains("boxword"), !name.contains(".doc"), "{name}");
            assert_eq!(found.contains("tocword"), !name.contains("odt"), "{name}");
        }
        for word in planted.split_whitespace() {
            assert!(found.contains(word), "{name} lacks {word}");
        }
        for word in left_out.split_whitespace() {
            assert!(!found.contains(word), "{name} contains {word}");
        }
    }
}

#[test]
fn content_tells_the_type_of_a_file_without_extension() {
    for name in READABLE {
        let (name, bytes) = fixture(name);
        // Flat XML has no mark of its own at its start.
        if !name.starts_with("report.f") && !name.starts_with("deck.f") {
            let expected = mime::detect(Path::new(&name), &bytes);
            assert_eq!(mime::detect(Path::new("unnamed"), &bytes), expected, "{name}");
            assert_eq!(mime::detect(Path::new("wrong.docx"), &bytes), expected, "{name}");
        }
    }
}

/// The archive with the content of a part changed.
fn with_part(bytes: &[u8], part: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    let mut change = Some(change);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let name = entry.name().unwrap().into_owned();
        if let Some(change) = change.take_if(|_| name == part) {
            content = change(content);
        }
        out.start_file(name, SimpleFileOptions::default()).unwrap();
        out.write_all(&content).unwrap();
    }
    assert!(change.is_none(), "{part} exists");
    out.finish().unwrap().into_inner()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn encrypted_and_damaged_documents_are_set_aside() {
    let [odt, pptx, epub] =
        ["report.odt", "slides.pptx", "book-3.epub"].map(|name| fixture(name).1);
    let [doc, ppt] = ["report.doc.gz", "slides-by-libreoffice.ppt.gz"].map(|name| fixture(name).1);
    let encrypted_odt = with_part(&odt, "META-INF/manifest.xml", |manifest| {
        let data = b"full-path=\"content.xml\"><manifest:encryption-data/";
        replaced(&manifest, b"full-path=\"content.xml\"", data)
    });
    // The flags of the header of the document, and of the user who edited it last.
    let encrypted_doc = {
        let mut bytes = doc.clone();
        let header = bytes.windows(2).position(|window| window == b"\xec\xa5").unwrap();
        bytes[header + 11] |= 1;
        bytes
    };
    let encrypted_ppt = replaced(&ppt, b"\x5f\xc0\x91\xe3", b"\xdf\xc4\xd1\xf3");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("drm.epub", fixture("book-drm.epub").1),
        ("encrypted.docx", fixture("report-encrypted.docx").1),
        ("encrypted.odt", encrypted_odt),
        ("encrypted.doc", encrypted_doc),
        ("encrypted.ppt", encrypted_ppt),
        ("fake.rtf", b"{\\rt not rtf".to_vec()),
        ("half.doc", doc[..doc.len() / 2].to_vec()),
        ("half.epub", epub[..epub.len() / 2].to_vec()),
        ("half.odt", odt[..odt.len() / 2].to_vec()),
        ("half.ppt", ppt[..ppt.len() / 2].to_vec()),
        ("half.pptx", pptx[..pptx.len() / 2].to_vec()),
        ("no-content.odt", with_part(&odt, "content.xml", |_| b"<a><b></a>".to_vec())),
        ("no-chapters.epub", with_part(&epub, "OEBPS/book.opf", |_| b"<package/>".to_vec())),
        ("bomb.odp", with_part(&odt, "content.xml", |_| vec![b' '; 80 << 20])),
    ];
    let cases: Vec<_> = cases.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    let outcome = extract(&cases);
    let lines: Vec<_> = reasons(&outcome.rejected)
        .into_iter()
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    bomb.odp: failed: exceeds the limit of 64 MiB of unpacked content (a quarter of max_memory) per document
    drm.epub: failed: is encrypted and requires a password
    encrypted.doc: failed: is encrypted and requires a password
    encrypted.docx: failed: is encrypted and requires a password
    encrypted.odt: failed: is encrypted and requires a password
    encrypted.ppt: failed: is encrypted and requires a password
    half.doc: failed: is not a valid DOC file: Invalid data: Word document: unreadable container: Malformed FAT (FAT has 28 entries, but file has only 14 sectors)
    half.epub: failed: is not a valid EPUB file: not a ZIP archive, or truncated
    half.odt: failed: is not a valid ODT file: not a ZIP archive, or truncated
    half.ppt: failed: is not a valid PPT file: Invalid data: PowerPoint presentation: unreadable container: Malformed FAT (FAT has 1230 entries, but file has only 615 sectors)
    half.pptx: failed: is not a valid PPTX file: not a ZIP archive, or truncated
    no-chapters.epub: empty: has no text
    no-content.odt: failed: is not a valid ODT file: ill-formed document: expected `</b>`, but `</a>` was found
    "#);
    assert_eq!(texts(&outcome), ["{\\rt not rtf"]);
}

#[test]
fn a_damaged_part_costs_this_part() {
    let truncated = |part: Vec<u8>| part[..part.len() / 2].to_vec();
    let broken = |_| b"<a></b>".to_vec();
    let pptx = with_part(&fixture("slides.pptx").1, "ppt/slides/slide2.xml", broken);
    let half = fixture("slides-by-libreoffice.pptx").1;
    let half = with_part(&half, "ppt/slides/slide2.xml", truncated);
    let epub = with_part(&fixture("book-3.epub").1, "OEBPS/one.xhtml", |_| vec![0; 100]);
    let odt = with_part(&fixture("report.odt").1, "meta.xml", broken);
    let odt = with_part(&odt, "styles.xml", truncated);
    let documents = [("a.pptx", pptx), ("b.pptx", half), ("c.epub", epub), ("d.odt", odt)];
    let documents = documents.map(|(name, bytes)| (name.to_owned(), bytes));
    let outcome = extract(&documents);
    assert_eq!(reasons(&outcome.rejected), []);
    let [slides, half, book, report] = texts(&outcome).try_into().unwrap();
    assert!(report.contains("bodyword") && report.contains("Lastword"), "{report}");
    assert!(!slides.contains("subtitleword") && slides.contains("groupword"), "{slides}");
    assert!(half.contains("Content Slide") && half.contains("lastslideword"), "{half}");
    assert!(!book.contains("Firstword") && book.contains("Secondword"), "{book}");
    let metadata = METADATA.of(&outcome.rows).unwrap();
    let metadata: Vec<_> = (0..3).map(|row| metadata.value(row)).collect();
    assert!(metadata[0].contains(r#""damaged_slides":"1""#), "{}", metadata[0]);
    assert!(metadata[1].contains(r#""damaged_slides":"2""#), "{}", metadata[1]);
    assert!(metadata[2].contains(r#""damaged_chapters":"OEBPS/one.xhtml""#), "{}", metadata[2]);
    let pages = PAGES.of(&outcome.rows).unwrap().value(0);
    assert_eq!(pages.len(), 4, "a slide that cannot be read keeps its page");
}

#[test]
fn a_book_that_is_all_contents_keeps_them() {
    let book = with_part(&fixture("book-2.epub").1, "OEBPS/book.opf", |opf| {
        replaced(&opf, br#"<itemref idref="b"/><itemref idref="a"/>"#, b"")
    });
    assert_eq!(texts(&extract(&[("a.epub".to_owned(), book)])), ["Inhalt: tocword"]);
}

/// Pseudorandom numbers below a bound.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// The bytes truncated, with some bytes changed, or with a range repeated or removed.
fn mutated(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (at, length) = (numbers.below(bytes.len()), 1 + numbers.below(64));
    let end = (at + length).min(bytes.len());
    match numbers.below(4) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.extend_from_within(at..end),
        _ => {
            for _ in 0..=numbers.below(8) {
                let at = numbers.below(bytes.len());
                bytes[at] = u8::try_from(numbers.below(256)).unwrap();
            }
        }
    }
    bytes
}

#[test]
fn mutated_documents_are_read_or_set_aside() {
    let mut numbers = Numbers(1);
    let mut documents = Vec::new();
    for fixture_name in READABLE {
        let (name, bytes) = fixture(fixture_name);
        let parts: Vec<String> = match ZipArchive::new(Cursor::new(&bytes)) {
            Ok(archive) => archive.file_names().map(|name| name.unwrap().into_owned()).collect(),
            Err(_) => Vec::new(),
        };
        let texts: Vec<_> = parts.iter().filter(|part| !part.ends_with(".xlsx")).collect();
        for number in 0..60 {
            // Compressed parts are protected by checksums, so their content is changed as well.
            let mutant = if number % 2 == 0 || texts.is_empty() {
                mutated(&bytes, &mut numbers)
            } else {
                let part = texts[numbers.below(texts.len())];
                let change = |part: Vec<u8>| match part.as_slice() {
                    [] => part,
                    content => mutated(content, &mut numbers),
                };
                with_part(&bytes, part, change)
            };
            documents.push((format!("{number}-{name}"), mutant));
        }
    }
    let outcome = extract(&documents);
    assert_eq!(outcome.rows.num_rows() + outcome.rejected.len(), documents.len());
    for (name, why) in reasons(&outcome.rejected) {
        let is_clean =
            !why.contains("crashed") && !why.contains("limit") && !why.contains("signal");
        assert!(is_clean, "{name}: {why}");
    }
    assert!(outcome.rows.num_rows() > documents.len() / 4, "{}", outcome.rows.num_rows());
}
