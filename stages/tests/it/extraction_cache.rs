//! `extract` with a cache: documents extracted before are not extracted again, and the rows do not
//! depend on the cache.
//!
//! Where a document must come from the cache, its bytes are replaced and only its hash is kept.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{FixedSizeBinaryArray, RecordBatch};
use pipeline::column::{BYTES, CONTENT_HASH, MIME_TYPE, TEXT, TITLE};
use pipeline::test_util::{InMemoryCache, reasons};
use pipeline::{Cache, Outcome, Resources, RowsExt as _};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::extract::{DOCX, docx, gzip, pdf};
use crate::support::{empty_resources, files, run, stage, with_column};

/// Extracts with this cache, after `hash`.
fn extract(memo: &Arc<InMemoryCache>, options: Value, rows: RecordBatch) -> Outcome {
    extract_hashed(memo, options, run(&*stage("hash", json!({})), &empty_resources(), rows).rows)
}

fn extract_hashed(memo: &Arc<InMemoryCache>, options: Value, rows: RecordBatch) -> Outcome {
    let worker = PathBuf::from(env!("CARGO_BIN_EXE_semantik-extract-worker"));
    let memo = Some(Arc::clone(memo) as Arc<dyn Cache>);
    run(
        &*stage("extract", options),
        &Resources { worker_program: Some(worker), cache: memo, ..empty_resources() },
        rows,
    )
}

/// The same files with other bytes but the original hashes.
fn same_hashes_other_bytes(named: &[(&str, &str, &[u8])]) -> RecordBatch {
    let whole = run(&*stage("hash", json!({})), &empty_resources(), files(named)).rows;
    let hollow: Vec<_> =
        named.iter().map(|(name, kind, _)| (*name, *kind, &b"hollow"[..])).collect();
    let hashes = CONTENT_HASH.of(&whole).unwrap();
    let hashes = FixedSizeBinaryArray::try_from_iter(hashes.iter().flatten()).unwrap();
    with_column(&files(&hollow), CONTENT_HASH.field(), Arc::new(hashes))
}

const PAGE: &[u8] = b".TH LS 1 2020-01-01\n.SH NAME\nls \\- list directory contents\n";
const HTML: &[u8] = b"<html lang=fr><title>T</title><h1>H</h1><p>Texte <b>en</b> fran\xc3\xa7ais";

#[test]
fn the_second_time_is_equal_to_the_first() {
    let (pdf, docx) = (
        pdf(&[&["First line", "Trees"], &[], &["Roots go down", "Leaves"]]),
        docx(b"<w:p><w:r><w:t>Hello from Word</w:t></w:r></w:p>"),
    );
    let page = gzip(PAGE);
    let documents: [(&str, &str, &[u8]); 6] = [
        ("b.md", "text/markdown", b"# Title\n\nText that says **something** in English\n"),
        ("untitled.html", "text/html", b"<p>no title"),
        ("c.html", "text/html", HTML),
        ("ls.1.gz", "application/gzip", &page),
        ("e.docx", DOCX, &docx),
        ("f.pdf", "application/pdf", &pdf),
    ];
    let memo = Arc::new(InMemoryCache::default());
    let first = extract(&memo, json!({}), files(&documents));
    assert_eq!((first.rows.num_rows(), memo.count()), (6, 6));
    let second = extract_hashed(&memo, json!({}), same_hashes_other_bytes(&documents));
    assert_eq!(second.rejected, []);
    // The column `size` is that of the replaced bytes.
    let but_size = |outcome: &Outcome| outcome.rows.clone().without_column("size");
    assert_eq!(but_size(&first), but_size(&second));
    assert_eq!(memo.count(), 6);

    let without = run(&*stage("extract", json!({})), &empty_resources(), files(&documents));
    assert_eq!(without.rows, first.rows.without_column(CONTENT_HASH.name()));
}

#[test]
fn every_document_of_a_large_batch_is_stored() {
    let pages: Vec<(String, String)> =
        (0..150).map(|n| (format!("{n:03}.html"), format!("<p>the text of page {n}"))).collect();
    let documents: Vec<(&str, &str, &[u8])> =
        pages.iter().map(|(name, page)| (name.as_str(), "text/html", page.as_bytes())).collect();
    let memo = Arc::new(InMemoryCache::default());
    let first = extract(&memo, json!({}), files(&documents));
    assert_eq!((first.rows.num_rows(), memo.count()), (150, 150));
    let second = extract_hashed(&memo, json!({}), same_hashes_other_bytes(&documents));
    let but_size = |outcome: &Outcome| outcome.rows.clone().without_column("size");
    assert_eq!(but_size(&first), but_size(&second));
}

#[test]
fn other_options_another_type_or_other_bytes_miss() {
    let memo = Arc::new(InMemoryCache::default());
    let read = |options: Value, name: &str, kind: &str, bytes: &[u8]| {
        extract(&memo, options, files(&[(name, kind, bytes)]));
        memo.count()
    };
    assert_eq!(read(json!({}), "a.html", "text/html", HTML), 1);
    assert_eq!(read(json!({}), "a.html", "text/html", HTML), 1);
    assert_eq!(read(json!({ "max_seconds": 60 }), "a.html", "text/html", HTML), 1);
    assert_eq!(read(json!({ "max_seconds": 61 }), "a.html", "text/html", HTML), 2);
    assert_eq!(read(json!({ "max_memory": "512MiB" }), "a.html", "text/html", HTML), 3);
    assert_eq!(read(json!({}), "a.html", "text/markdown", HTML), 4);
    assert_eq!(read(json!({}), "a.html", "text/html", b"<p>other"), 5);
}

#[test]
fn a_copy_has_the_text_of_the_first_and_its_own_name() {
    let memo = Arc::new(InMemoryCache::default());
    extract(&memo, json!({}), files(&[("one.html", "text/html", b"<p>no title")]));
    let copy = extract_hashed(
        &memo,
        json!({}),
        same_hashes_other_bytes(&[("two.html", "text/html", b"<p>no title")]),
    );
    assert_eq!(TITLE.of(&copy.rows).unwrap().value(0), "two");
    assert_eq!(TEXT.of(&copy.rows).unwrap().value(0), "no title");
    assert_eq!(memo.count(), 1);
}

#[test]
fn what_a_compressed_file_is_depends_on_its_name() {
    let memo = Arc::new(InMemoryCache::default());
    let bytes = gzip(b"# <b>one</b>\n");
    let read = |name: &str| {
        let rows = files(&[(name, "application/gzip", &bytes)]);
        let outcome = extract(&memo, json!({}), rows);
        MIME_TYPE.of(&outcome.rows).unwrap().value(0).to_owned()
    };
    for _ in 0..2 {
        assert_eq!(read("a.md.gz"), "text/markdown");
        assert_eq!(read("a.html.gz"), "text/html");
        assert_eq!(read("b.HTML.gz"), "text/html");
        assert_eq!(read("a.txt.gz"), "text/plain");
    }
}

#[test]
fn what_was_refused_and_what_costs_nothing_is_not_remembered() {
    let memo = Arc::new(InMemoryCache::default());
    let rows = || {
        files(&[
            ("a.txt", "text/plain", b"plain"),
            ("b.json", "application/json", b"{\"a\": 1}"),
            ("empty.html", "text/html", b"<script>x</script>"),
            ("fake.pdf", "application/pdf", b"%PDF-1.4\nthis is not one"),
            ("image.png", "image/png", b"\x89PNG\r\n\x1a\n"),
        ])
    };
    let first = extract(&memo, json!({}), rows());
    let second = extract(&memo, json!({}), rows());
    assert_eq!(first.rows, second.rows);
    assert_eq!(first.rejected, second.rejected);
    assert_eq!(reasons(&first.rejected).len(), 3);
    assert_eq!(memo.count(), 0);
}

#[test]
fn without_a_hash_nothing_is_remembered() {
    let memo = Arc::new(InMemoryCache::default());
    let rows = files(&[("a.html", "text/html", HTML)]);
    assert_eq!(extract_hashed(&memo, json!({}), rows).rows.num_rows(), 1);
    assert_eq!(memo.count(), 0);
}

#[test]
fn a_value_that_is_none_is_read_again() {
    let memo = Arc::new(InMemoryCache::default());
    let rows = || files(&[("a.html", "text/html", HTML)]);
    let first = extract(&memo, json!({}), rows());
    for damage in [&b""[..], b"noise", &zstd::encode_all(&b"{}"[..], 1).unwrap()] {
        memo.damage(|value| *value = damage.to_vec());
        assert_eq!(extract(&memo, json!({}), rows()).rows, first.rows);
    }
    let again =
        extract_hashed(&memo, json!({}), same_hashes_other_bytes(&[("a.html", "text/html", HTML)]));
    assert_eq!(TEXT.of(&again.rows).unwrap().value(0), TEXT.of(&first.rows).unwrap().value(0));
}

fn any_file() -> impl Strategy<Value = (String, &'static str, Vec<u8>)> {
    let text = "(<h1>|</h1>|<p>|<title>|# |\\* |\n|[a-zé ]{1,12}|&amp;){0,12}";
    let kind = prop::sample::select(vec![
        ("md", "text/markdown"),
        ("html", "text/html"),
        ("txt", "text/plain"),
        ("1", "text/troff"),
        ("md.gz", "application/gzip"),
        ("html.gz", "application/gzip"),
    ]);
    (text, kind, 0..3).prop_map(|(text, (ending, kind), name)| {
        let bytes =
            if kind == "application/gzip" { gzip(text.as_bytes()) } else { text.into_bytes() };
        (format!("{name}.{ending}"), kind, bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With and without a cache, in any batches: the same rows and rejections.
    #[test]
    fn a_memo_does_not_show(batches in prop::collection::vec(prop::collection::vec(any_file(), 1..8), 1..4)) {
        let memo = Arc::new(InMemoryCache::default());
        for batch in batches.iter().chain(&batches) {
            let named: Vec<_> =
                batch.iter().map(|(name, kind, bytes)| (name.as_str(), *kind, bytes.as_slice())).collect();
            let with = extract(&memo, json!({}), files(&named));
            let hashed = run(&*stage("hash", json!({})), &empty_resources(), files(&named)).rows;
            let without = run(&*stage("extract", json!({})), &empty_resources(), hashed);
            prop_assert!(with.rows.column_by_name(BYTES.name()).is_none());
            prop_assert_eq!(with.rows, without.rows);
            prop_assert_eq!(with.rejected, without.rejected);
        }
    }
}
