//! `extract`: every format, and every kind of defective file, in the main process and in the
//! extract worker.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::PathBuf;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::UInt64Type;
use flate2::Compression;
use flate2::write::GzEncoder;
use pipeline::column::{LANGUAGE, METADATA, MIME_TYPE, OUTLINE, PAGES, TEXT, TITLE};
use pipeline::test_util::reasons;
use pipeline::{Outcome, Resources};
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::{empty_resources, files, run, stage};

pub(crate) const DOCX: &str =
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// Resources with the real extract worker.
pub(crate) fn with_worker() -> Resources {
    let worker = PathBuf::from(env!("CARGO_BIN_EXE_semantik-extract-worker"));
    Resources { worker_program: Some(worker), ..empty_resources() }
}

fn extract(rows: RecordBatch) -> Outcome {
    run(&*stage("extract", json!({})), &with_worker(), rows)
}

/// A PDF with these lines per page, a title, and a bookmark per page with the second line as title.
pub(crate) fn pdf(pages: &[&[&str]]) -> Vec<u8> {
    let first_page = 6;
    let kids: Vec<String> =
        (0..pages.len()).map(|page| format!("{} 0 R", first_page + 2 * page)).collect();
    let first_mark = first_page + 2 * pages.len();
    let last_mark = first_mark + pages.len() - 1;
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R /Outlines 5 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        "<< /Title (On Trees) /Author (A. Author) /CreationDate (D:20240102030405Z) >>".to_owned(),
        format!(
            "<< /Type /Outlines /First {first_mark} 0 R /Last {last_mark} 0 R /Count {} >>",
            pages.len()
        ),
    ];
    for (page, lines) in pages.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R \
             /Resources << /Font << /F1 3 0 R >> >> >>",
            first_page + 2 * page + 1
        ));
        let mut content = String::from("BT /F1 12 Tf 72 720 Td ");
        for line in *lines {
            write!(content, "({line}) Tj 0 -30 Td ").unwrap();
        }
        content.push_str("ET");
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    }
    for (page, lines) in pages.iter().enumerate() {
        let next = if page + 1 < pages.len() {
            format!("/Next {} 0 R", first_mark + page + 1)
        } else {
            String::new()
        };
        let prev =
            if page > 0 { format!("/Prev {} 0 R", first_mark + page - 1) } else { String::new() };
        objects.push(format!(
            "<< /Title ({}) /Parent 5 0 R /Dest [{} 0 R /Fit] {next} {prev} >>",
            lines.get(1).unwrap_or(&""),
            first_page + 2 * page
        ));
    }
    assemble(&objects)
}

/// A PDF file of these objects: the first is the catalogue, the fourth the document information.
fn assemble(objects: &[String]) -> Vec<u8> {
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        write!(out, "{} 0 obj\n{object}\nendobj\n", index + 1).unwrap();
    }
    let xref = out.len();
    write!(out, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).unwrap();
    for offset in offsets {
        writeln!(out, "{offset:010} 00000 n ").unwrap();
    }
    write!(
        out,
        "trailer\n<< /Size {} /Root 1 0 R /Info 4 0 R >>\nstartxref\n{xref}\n%%EOF\n",
        objects.len() + 1
    )
    .unwrap();
    out
}

/// A PDF with `pages` pages, of which the first `images` contain only an image.
pub(crate) fn scanned(images: usize, pages: usize) -> Vec<u8> {
    let kids: Vec<String> = (0..pages).map(|page| format!("{} 0 R", 5 + page)).collect();
    let image = "<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray \
                 /BitsPerComponent 8 /Length 1 >>\nstream\n\x7f\nendstream";
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count {pages} >>", kids.join(" ")),
        image.to_owned(),
        "<< /Title (untitled) >>".to_owned(),
    ];
    for page in 0..pages {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R \
             /Resources << /XObject << /Im1 3 0 R >> >> >>",
            5 + pages + page
        ));
    }
    for page in 0..pages {
        let content = if page < images { "q 612 0 0 792 0 0 cm /Im1 Do Q" } else { "q Q" };
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    }
    assemble(&objects)
}

pub(crate) fn docx(body: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("word/document.xml", SimpleFileOptions::default()).unwrap();
    zip.write_all(body).unwrap();
    zip.finish().unwrap().into_inner()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn outline(rows: &RecordBatch, row: usize) -> Vec<(u64, String)> {
    let headings = OUTLINE.of(rows).unwrap().value(row);
    let headings = headings.as_struct();
    let at = headings.column_by_name("at").unwrap().as_primitive::<UInt64Type>();
    let titles = headings.column_by_name("title").unwrap().as_string::<i32>();
    (0..headings.len()).map(|index| (at.value(index), titles.value(index).to_owned())).collect()
}

#[test]
fn each_format_gives_text_title_headings_and_metadata() {
    let page = b".TH LS 1 2020-01-01\n.SH NAME\nls \\- list directory contents\n";
    let word = b"<w:p><w:r><w:t>Hello from Word</w:t></w:r></w:p>";
    let rows = files(&[
        (
            "a.txt",
            "text/plain",
            "Gr\u{fc}\u{df}e, this is a plain text that is long enough to be recognised.\n"
                .as_bytes(),
        ),
        ("b.md", "text/markdown", b"# Title\n\nText\n"),
        ("c.html", "text/html", b"<html lang=fr><title>T</title><h1>H</h1><p>Texte"),
        ("ls.1.gz", "application/gzip", &gzip(page)),
        ("e.docx", DOCX, &docx(word)),
        (
            "f.pdf",
            "application/pdf",
            &pdf(&[&["First line", "Trees"], &[], &["Roots go down", "Leaves"]]),
        ),
    ]);
    let outcome = extract(rows);
    assert_eq!(reasons(&outcome.rejected), []);
    let rows = &outcome.rows;
    let shown: Vec<_> = (0..rows.num_rows())
        .map(|row| {
            let language = LANGUAGE.of(rows).unwrap();
            format!(
                "{} | {} | {} | {} | {:?}\n{}",
                MIME_TYPE.of(rows).unwrap().value(row),
                TITLE.of(rows).unwrap().value(row),
                if language.is_valid(row) { language.value(row) } else { "-" },
                METADATA.of(rows).unwrap().value(row),
                outline(rows, row),
                TEXT.of(rows).unwrap().value(row),
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n---\n"), @r#"
    text/plain | a | en | {} | []
    Grüße, this is a plain text that is long enough to be recognised.
    ---
    text/markdown | Title | - | {} | [(0, "Title")]
    # Title

    Text

    ---
    text/html | T | fr | {} | [(0, "H")]
    H

    Texte
    ---
    text/troff | ls(1) | - | {"section":"1","modified":"2020-01-01"} | [(0, "NAME")]
    NAME

    ls - list directory contents
    ---
    application/vnd.openxmlformats-officedocument.wordprocessingml.document | e | - | {} | []
    Hello from Word
    ---
    application/pdf | On Trees | - | {"author":"A. Author","created":"2024-01-02T03:04:05+00:00"} | [(11, "Trees"), (32, "Leaves")]
    First line Trees

    Roots go down Leaves
    "#);
    let pages = PAGES.of(rows).unwrap();
    assert!(pages.value(0).is_empty());
    assert_eq!(pages.value(5).as_primitive::<UInt64Type>().len(), 3);
}

#[test]
fn what_is_wrong_with_a_file_is_said_in_words() {
    let whole = pdf(&[&["First line", "Trees"]]);
    let noise: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let rows = files(&[
        ("binary", "application/octet-stream", &noise),
        ("bomb.docx", DOCX, &docx(&vec![b' '; 300 << 20])),
        ("bomb.txt.gz", "application/gzip", &gzip(&vec![b'a'; 300 << 20])),
        ("empty.txt", "text/plain", b""),
        ("fake.docx", DOCX, b"this is not a zip archive"),
        ("fake.md", "text/markdown", &noise),
        ("fake.pdf", "application/pdf", b"%PDF-1.4\nthis is not one"),
        ("image.png", "image/png", b"\x89PNG\r\n\x1a\n"),
        ("nothing.html", "text/html", b"<html><script>x</script></html>"),
        (
            "encrypted.eml",
            "message/rfc822",
            b"From: a\nContent-Type: multipart/encrypted\n\naGVsbG8=",
        ),
        ("no-header.eml", "message/rfc822", b"no header"),
        ("no-page.mht", "multipart/related", b"From: a\nMessage-ID: <x>\n\naGVsbG8="),
        ("blank.pdf", "application/pdf", &pdf(&[&[]])),
        ("scan.pdf", "application/pdf", &scanned(3, 3)),
        ("scan-of-one-page.pdf", "application/pdf", &scanned(1, 1)),
        ("scan-with-blank-pages.pdf", "application/pdf", &scanned(2, 5)),
        ("truncated.gz", "application/gzip", &gzip(b"some text")[..12]),
        ("truncated.pdf", "application/pdf", &whole[..whole.len() / 3]),
        ("unmade.docx", DOCX, &docx(b"<w:p><w:t>")[..60]),
        ("z-good.txt", "text/plain", b"the rest is read"),
    ]);
    let outcome = extract(rows);
    assert_eq!(TEXT.of(&outcome.rows).unwrap().value(0), "the rest is read");
    assert_eq!(outcome.rows.num_rows() + outcome.rejected.len(), 20);
    let lines: Vec<_> = reasons(&outcome.rejected)
        .into_iter()
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    binary: unsupported: has the type application/octet-stream, which no extractor supports
    blank.pdf: empty: has no text
    bomb.docx: failed: exceeds the limit of 256 MiB of unpacked content (a quarter of max_memory) per document
    bomb.txt.gz: failed: exceeds the limit of 256 MiB of unpacked content (a quarter of max_memory) per document
    empty.txt: empty: has no text
    encrypted.eml: failed: is encrypted and requires a password
    fake.docx: failed: is not a valid DOCX file: not a ZIP archive, or truncated
    fake.md: unsupported: has the type application/octet-stream, which no extractor supports
    fake.pdf: failed: is not a valid PDF file: truncated (startxref not found)
    image.png: unsupported: has the type image/png, which no extractor supports
    no-header.eml: failed: is not a valid mail file: it has no message header
    no-page.mht: failed: is not a valid web archive file: it has no page
    nothing.html: empty: has no text
    scan-of-one-page.pdf: empty: has no text layer: its page is an image (OCR is not supported)
    scan-with-blank-pages.pdf: empty: has no text layer: 2 of its 5 pages are images (OCR is not supported)
    scan.pdf: empty: has no text layer: its 3 pages are images (OCR is not supported)
    truncated.gz: failed: is not a valid gzip file: incomplete deflate stream
    truncated.pdf: failed: is not a valid PDF file: truncated, and the rest contains no text
    unmade.docx: failed: is not a valid DOCX file: not a ZIP archive, or truncated
    "#);
}

#[test]
fn this_process_and_the_worker_read_the_same() {
    let rows = files(&[
        ("a.txt", "text/plain", b"one\x0ctwo"),
        ("b.md", "text/markdown", b"---\ntags: [x, y]\n---\n# Title\n\nText\n"),
        ("c.html", "text/html", b"<html lang=fr><title>T</title><h1>H</h1><p>Texte"),
        ("ls.1.gz", "application/gzip", &gzip(b".TH LS 1 2020-01-01\n.SH NAME\nls\n")),
        ("twice.gz.gz", "application/gzip", &gzip(&gzip(b"text"))),
        ("e.docx", DOCX, &docx(b"<w:p><w:r><w:t>Hello from Word</w:t></w:r></w:p>")),
        ("f.pdf", "application/pdf", &pdf(&[&["First line", "Trees"]])),
        ("scan.pdf", "application/pdf", &scanned(1, 2)),
        ("fake.pdf", "application/pdf", b"%PDF-1.4\nthis is not one"),
        ("empty.txt.gz", "application/gzip", &gzip(b"")),
        ("image.png", "image/png", b"\x89PNG\r\n\x1a\n"),
    ]);
    let here = run(&*stage("extract", json!({})), &empty_resources(), rows.clone());
    let there = extract(rows);
    assert_eq!(here.rows, there.rows);
    assert_eq!(here.rejected, there.rejected);
}

/// Extracts the documents with a worker that runs the script at its first start, and is the real
/// one at later starts.
fn with_script(script: &str, options: Value, documents: &[(&str, &str, &[u8])]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker");
    let (real, started) = (env!("CARGO_BIN_EXE_semantik-extract-worker"), path.display());
    let text = format!(
        "#!/bin/sh\nmkdir '{started}.started' 2>/dev/null || exec '{real}' \"$@\"\nreal='{real}'\n{script}\n"
    );
    fs_err::write(&path, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(&path, mode).unwrap();
    let with = Resources { worker_program: Some(path), ..empty_resources() };
    run(&*stage("extract", options), &with, files(documents))
}

#[test]
fn a_worker_that_hangs_or_dies_costs_one_document() {
    let scripts = [
        "echo ready; exec sleep 60",
        "echo ready; echo 'memory allocation of 5 bytes failed' >&2; kill -ABRT $$",
        "echo ready; echo 'thread extract has overflowed its stack' >&2; kill -ABRT $$",
        "echo ready; head -c 100 >/dev/null; exit 0",
        // Reads nothing, and fills the pipe of stderr.
        "echo ready; head -c 1000000 /dev/zero >&2; exit 1",
        "echo ready; kill -KILL $$",
        // Sends endless output without a request.
        "echo ready; exec cat /dev/zero",
        "echo ready; exec yes",
        // Closes stdin, stdout and stderr, and keeps running.
        "echo ready; exec <&- >&- 2>&- ; exec sleep 60",
        // Closes stdin and stderr, and keeps running.
        "echo ready; exec <&- 2>&- ; exec sleep 60",
    ];
    let good = pdf(&[&["First line"]]);
    let documents: [(&str, &str, &[u8]); 3] = [
        ("a.pdf", "application/pdf", &good),
        ("b.txt", "text/plain", b"text"),
        ("c.md", "text/markdown", b"# Title"),
    ];
    let found: Vec<String> = scripts
        .iter()
        .map(|script| {
            let outcome = with_script(script, json!({ "max_seconds": 1 }), &documents);
            assert_eq!(texts(&outcome), ["text", "# Title"], "{script}");
            reasons(&outcome.rejected)[0].1.clone()
        })
        .collect();
    insta::assert_snapshot!(found.join("\n"), @r#"
    failed: exceeds the limit of 1 s (max_seconds) per document
    failed: exceeds the limit of 1 GiB of memory (max_memory) per document
    failed: is not a valid PDF file: nested too deeply
    failed: is not a valid PDF file: the parser crashed
    failed: is not a valid PDF file: the parser crashed
    failed: is not a valid PDF file: the parser was ended by signal 9
    failed: is not a valid PDF file: the parser crashed
    failed: is not a valid PDF file: the parser crashed
    failed: is not a valid PDF file: the parser crashed
    failed: exceeds the limit of 1 s (max_seconds) per document
    "#);
}

#[test]
fn a_worker_that_is_killed_in_the_middle_costs_no_other_document() {
    // The first worker forwards 300 bytes of output, which end within an answer, and is killed.
    let documents: Vec<(String, String)> =
        (0..200).map(|at| (format!("{at:03}.txt"), format!("the text of document {at}"))).collect();
    let rows: Vec<(&str, &str, &[u8])> = documents
        .iter()
        .map(|(name, text)| (name.as_str(), "text/plain", text.as_bytes()))
        .collect();
    let script = "\"$real\" \"$@\" | { head -c 300; kill -KILL $$; }";
    let outcome = with_script(script, json!({}), &rows);
    assert_eq!(reasons(&outcome.rejected), []);
    let expected: Vec<&str> = documents.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts(&outcome), expected);
}

#[test]
fn a_worker_that_does_not_start_fails_the_run() {
    for script in ["echo 'cannot open shared object file' >&2; exit 127", "echo 'another program'"]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker");
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&path, mode).unwrap();
        let with = Resources { worker_program: Some(path), ..empty_resources() };
        let mut extract = stage("extract", json!({})).build(&with).unwrap();
        let error = extract.process(files(&[("b.txt", "text/plain", b"text")])).unwrap_err();
        assert!(error.to_string().contains("extract-worker did not start"), "{error}");
    }
}

/// The extracted texts, in order.
pub(crate) fn texts(outcome: &Outcome) -> Vec<String> {
    TEXT.of(&outcome.rows).unwrap().iter().flatten().map(str::to_owned).collect()
}

#[test]
fn the_worker_is_limited_in_memory_and_serves_on() {
    // So many text operators that their parsed form exceeds the memory limit.
    let lines: Vec<String> =
        (0..400_000).map(|line| format!("line {line} of a long page")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let large = pdf(&[&lines]);
    let small = pdf(&[&["First line"]]);
    let rows = files(&[
        ("large.pdf", "application/pdf", &large),
        ("small.pdf", "application/pdf", &small),
    ]);
    let options = json!({ "max_memory": "48MiB" });
    let outcome = run(&*stage("extract", options), &with_worker(), rows);
    insta::assert_debug_snapshot!(reasons(&outcome.rejected), @r#"
    [
        (
            "large.pdf",
            "failed: exceeds the limit of 48 MiB of memory (max_memory) per document",
        ),
    ]
    "#);
    assert_eq!(TEXT.of(&outcome.rows).unwrap().value(0), "First line");
}

#[test]
fn many_documents_pass_through_one_worker() {
    let documents: Vec<(String, Vec<u8>)> = (0..50)
        .map(|index| {
            (format!("{index:02}.pdf"), pdf(&[&[&format!("Document number {index}"), "x"]]))
        })
        .collect();
    let rows: Vec<_> = documents
        .iter()
        .map(|(name, bytes)| (name.as_str(), "application/pdf", bytes.as_slice()))
        .collect();
    let outcome = extract(files(&rows));
    let texts = TEXT.of(&outcome.rows).unwrap();
    for index in 0..50 {
        assert!(texts.value(index).starts_with(&format!("Document number {index}")));
    }
}
