//! The node `parquet`, read back with the `parquet` crate.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float32Type, SchemaRef, UInt32Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::{NodeKind, Sink, SinkConfig};
use proptest::prelude::*;
use serde_json::json;
use sinks::test_util::{DIM, Doc, chunk_vector, doc, rows};
use tokio::runtime::Runtime;

use crate::support::resources;
use pipeline::test_util::KillableChild;

fn config(folder: &Path) -> Box<dyn SinkConfig> {
    let node = sinks::NODES.iter().find(|node| node.name == "parquet").unwrap();
    match (node.parse)(json!({ "path": folder }), Path::new("/")).unwrap() {
        NodeKind::Sink(sink) => sink,
        NodeKind::Source(_) | NodeKind::Stage(_) => unreachable!("parquet is a sink"),
    }
}

fn open(folder: &Path) -> Box<dyn Sink> {
    config(folder).build(&resources()).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // pyarrow and DuckDB ignore these files, too.
    files.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    files.sort();
    files
}

/// One table of the dataset; `None` without files.
fn table(folder: &Path, name: &str) -> Option<RecordBatch> {
    let mut batches = Vec::new();
    for file in files(&folder.join(name)) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
        let schema = SchemaRef::clone(reader.schema());
        let rows: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        batches.push(concat_batches(&schema, &rows).unwrap());
    }
    let first = batches.first()?.schema();
    Some(concat_batches(&first, &batches).unwrap())
}

/// The text of each document with the texts of its chunks. Panics on a duplicate document, a chunk
/// without its vector, or, if `strict`, a chunk without its document.
fn read(folder: &Path, strict: bool) -> BTreeMap<String, (String, Vec<String>)> {
    let Some(documents) = table(folder, "documents") else { return BTreeMap::new() };
    let chunks = table(folder, "chunks").unwrap();
    let mut read: BTreeMap<String, (String, BTreeMap<u32, String>)> = BTreeMap::new();
    let uris = documents.column_by_name("uri").unwrap().as_string::<i32>();
    let texts = documents.column_by_name("text").unwrap().as_string::<i64>();
    for row in 0..documents.num_rows() {
        let document = (texts.value(row).to_owned(), BTreeMap::new());
        let twice = read.insert(uris.value(row).to_owned(), document);
        assert!(twice.is_none(), "{} is stored twice", uris.value(row));
    }
    let uris = chunks.column_by_name("uri").unwrap().as_string::<i32>();
    let indices = chunks.column_by_name("chunk_index").unwrap().as_primitive::<UInt32Type>();
    let texts = chunks.column_by_name("text").unwrap().as_string::<i64>();
    let vectors = chunks.column_by_name("vector").unwrap().as_fixed_size_list();
    let starts = chunks.column_by_name("start").unwrap().as_primitive::<UInt64Type>();
    for row in 0..chunks.num_rows() {
        let Some((document, own)) = read.get_mut(uris.value(row)) else {
            assert!(!strict, "a chunk of {} has no document", uris.value(row));
            continue;
        };
        let start = usize::try_from(starts.value(row)).unwrap();
        assert!(
            document[start..].starts_with(texts.value(row)),
            "the chunk is not at its position in the text"
        );
        let vector = vectors.value(row);
        assert_eq!(
            vector.as_primitive::<Float32Type>().values()[..],
            chunk_vector(texts.value(row))
        );
        let twice = own.insert(indices.value(row), texts.value(row).to_owned());
        assert!(twice.is_none(), "a chunk of {} is stored twice", uris.value(row));
    }
    read.into_iter().map(|(uri, (text, own))| (uri, (text, own.into_values().collect()))).collect()
}

fn wanted(docs: &[Doc]) -> BTreeMap<String, (String, Vec<String>)> {
    let texts = |doc: &Doc| doc.chunks().into_iter().map(str::to_owned).collect();
    docs.iter().map(|doc| (doc.uri.clone(), (doc.text.clone(), texts(doc)))).collect()
}

#[tokio::test]
async fn documents_and_chunks_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let docs = [
        doc("file:///a", "alpha naïve gamma"),
        doc("file:///empty", ""),
        doc("file:///b", "delta"),
    ];
    open(folder.path()).write(rows(&docs, true)).await.unwrap();
    assert_eq!(read(folder.path(), true), wanted(&docs));

    let documents = table(folder.path(), "documents").unwrap();
    assert!(
        documents.column_by_name("chunks").is_none()
            && documents.column_by_name("vectors").is_none()
    );
    assert_eq!(
        documents.column_by_name("metadata").unwrap().as_string::<i32>().value(0),
        r#"{"author":"somebody"}"#
    );
    let chunks = table(folder.path(), "chunks").unwrap();
    let names: Vec<_> = chunks.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        names,
        [
            "uri",
            "content_hash",
            "chunk_index",
            "text",
            "start",
            "end",
            "page",
            "headings",
            "vector"
        ]
    );
    let schema = chunks.schema();
    let DataType::FixedSizeList(_, dim) = schema.field_with_name("vector").unwrap().data_type()
    else {
        panic!("vectors have a fixed size");
    };
    assert_eq!(usize::try_from(*dim).unwrap(), DIM);
}

#[tokio::test]
async fn vectors_are_optional() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(&[doc("file:///a", "alpha beta")], false);
    config(folder.path()).accepts(rows.schema_ref()).unwrap();
    open(folder.path()).write(rows).await.unwrap();
    let chunks = table(folder.path(), "chunks").unwrap();
    assert_eq!(chunks.num_rows(), 2);
    assert!(chunks.column_by_name("vector").is_none());
}

#[tokio::test]
async fn a_slice_of_a_batch_is_written_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let docs = [
        doc("file:///a", "a b c"),
        doc("file:///b", "d e"),
        doc("file:///c", ""),
        doc("file:///d", "f"),
    ];
    open(folder.path()).write(rows(&docs, true).slice(1, 2)).await.unwrap();
    assert_eq!(read(folder.path(), true), wanted(&docs[1..3]));
}

#[test]
fn a_dataset_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let error = config(folder.path()).build(&resources()).err().unwrap();
    let said = pipeline::error_chain(&*error);
    let cause = format!("{} is in use by another node or process", folder.path().display());
    assert!(said.ends_with(&cause), "{said}");
    drop(first);
    open(folder.path());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any batches, with or without reopening the dataset in between: the last version of each
    /// document is stored once.
    #[test]
    fn what_came_last_is_there_once(
        batches in prop::collection::vec(
            (prop::collection::vec((0..8_u32, 0..12_usize), 0..6), any::<bool>()),
            1..10,
        ),
    ) {
        Runtime::new().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut last: BTreeMap<u32, Doc> = BTreeMap::new();
            let mut sink = open(folder.path());
            for (batch, reopen) in batches {
                let docs: Vec<Doc> = batch
                    .into_iter()
                    .map(|(number, words)| {
                        let text: Vec<String> = (0..words).map(|word| format!("w{word}")).collect();
                        let doc = doc(&format!("file:///{number}"), &text.join(" "));
                        last.insert(number, doc.clone());
                        doc
                    })
                    .collect();
                sink.write(rows(&docs, true)).await.unwrap();
                if reopen {
                    drop(sink);
                    sink = open(folder.path());
                }
                let docs: Vec<Doc> = last.values().cloned().collect();
                assert_eq!(read(folder.path(), true), wanted(&docs));
            }
        });
    }
}

/// After a kill at any moment, the dataset is readable and every document in it is complete; after
/// reopening, no chunk is without a document.
#[test]
fn a_killed_writer_leaves_documents_whole_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0_u32..12 {
        let mut child = KillableChild::start(
            Command::new(env!("CARGO_BIN_EXE_sinks-test-writer")).arg(folder.path()),
        );
        for _ in 0..2 + round % 3 {
            child.wait_for_line("written").unwrap();
        }
        std::thread::sleep(Duration::from_micros(u64::from(round * 1931 % 9000)));
        child.kill();
        for (strict, what) in [(false, "after the kill"), (true, "after reopening")] {
            if strict {
                open(folder.path());
            }
            for (uri, (text, chunks)) in read(folder.path(), strict) {
                assert_eq!(text.split(' ').collect::<Vec<_>>(), chunks, "{uri} {what}");
            }
        }
    }
}
