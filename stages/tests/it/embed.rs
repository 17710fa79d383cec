//! `embed`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, LargeStringArray, ListArray, RecordBatch, StringArray,
    StructArray, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, Float32Type, UInt32Type};
use pipeline::column::{
    CHUNKS, LANGUAGE, SOURCE, SPARSE, TEXT, TITLE, URI, chunk_fields, vectors_column,
};
use pipeline::{ModelUse, Passage, SparseVector, StageConfig};
use serde_json::{Value, json};

use crate::support::{batch, empty_resources, model, run, stage};

/// One row per document, with one list of token ids per chunk.
fn documents(documents: &[&[&[u32]]]) -> RecordBatch {
    let chunks: Vec<&[u32]> = documents.iter().copied().flatten().copied().collect();
    let ids = UInt32Array::from_iter_values(chunks.iter().copied().flatten().copied());
    let field = Arc::new(Field::new_list_field(ids.data_type().clone(), false));
    let tokens = ListArray::new(
        field,
        OffsetBuffer::from_lengths(chunks.iter().map(|ids| ids.len())),
        Arc::new(ids),
        None,
    );
    let count = chunks.len();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from(vec![0; count])),
        Arc::new(UInt64Array::from(vec![1; count])),
        Arc::new(UInt64Array::from(vec![None; count])),
        Arc::new(UInt64Array::from(vec![None; count])),
        Arc::new(UInt32Array::from(vec![None; count])),
        Arc::new(StringArray::from(vec![None::<&str>; count])),
        Arc::new(tokens),
    ];
    let fields = StructArray::new(chunk_fields(), columns, None);
    let lists = ListArray::new(
        Arc::new(Field::new_list_field(fields.data_type().clone(), false)),
        OffsetBuffer::from_lengths(documents.iter().map(|chunks| chunks.len())),
        Arc::new(fields),
        None,
    );
    let uris =
        StringArray::from_iter_values((0..documents.len()).map(|index| format!("file:///{index}")));
    batch(vec![(URI.field(), Arc::new(uris)), (CHUNKS.field(), Arc::new(lists))])
}

fn bound(options: Value) -> Result<Box<dyn StageConfig>, String> {
    let mut config = stage("embed", options);
    let ModelUse::Runs { model: path, .. } = config.model() else { panic!("embed names a model") };
    let model = model(path);
    config.bind_model(&model).map_err(|misfit| misfit.message)?;
    Ok(config)
}

/// The vectors per document, in order of the chunks.
fn vectors_of(rows: RecordBatch) -> Vec<Vec<Vec<f32>>> {
    let config = bound(json!({ "model": "pieces", "sparse": "none" })).unwrap();
    let expected = config.output_schema(rows.schema_ref()).unwrap();
    let out = config.build(&empty_resources()).unwrap().process(rows).unwrap();
    assert_eq!(out.rows.schema(), expected);
    let lists = vectors_column(3).of(&out.rows).unwrap().clone();
    let row = |list: ArrayRef| {
        let vectors = list.as_fixed_size_list();
        (0..vectors.len())
            .map(|at| vectors.value(at).as_primitive::<Float32Type>().values().to_vec())
            .collect()
    };
    lists.iter().map(|list| row(list.unwrap())).collect()
}

#[test]
fn each_chunk_gets_its_own_vector() {
    let rows = documents(&[&[&[5, 6, 7], &[8]], &[], &[&[9, 10]]]);
    let expected = vec![vec![vec![3., 5., 7.], vec![1., 8., 8.]], vec![], vec![vec![2., 9., 10.]]];
    assert_eq!(vectors_of(rows.clone()), expected);
    // A slice of a batch shares the arrays of the whole.
    for start in 0..3 {
        for length in 0..=3 - start {
            let slice = vectors_of(rows.slice(start, length));
            assert_eq!(slice, expected[start..start + length]);
        }
    }
}

#[test]
fn a_window_is_counted_in_chunks() {
    let config = bound(json!({ "model": "pieces", "window": 7 })).unwrap();
    let gather = config.batch_policy().unwrap();
    assert_eq!(gather.target_weight, 7);
    let rows = documents(&[&[&[1], &[2]], &[&[3]]]);
    assert_eq!((gather.weight)(&rows), 3);
    assert_eq!((gather.weight)(&rows.slice(1, 1)), 1);
}

#[test]
fn a_dimension_that_is_not_the_models_is_refused() {
    let refusal = bound(json!({ "model": "pieces", "dim": 512 })).err().unwrap();
    insta::assert_snapshot!(refusal, @"invalid dim 512: /nowhere/pieces has 3 dimensions");
}

#[test]
fn its_identity_is_that_of_the_model_and_not_its_place() {
    let identity = |options| bound(options).unwrap().identity();
    let one = identity(json!({ "model": "a", "device": "cpu" }));
    assert_eq!(one, identity(json!({ "model": "elsewhere/b", "dtype": "bfloat16", "dim": 3 })));
    assert_ne!(one, identity(json!({ "model": "a", "dtype": "int8" })));
    assert_eq!(one["model"], "pieces-1");
}

#[test]
fn a_path_is_relative_to_the_file_and_the_stand_in_is_no_path() {
    let path = |model: &str| match stage("embed", json!({ "model": model })).model() {
        ModelUse::Runs { model: path, .. } => path.to_owned(),
        ModelUse::None | ModelUse::FollowsDownstream | ModelUse::RequiresDownstream => {
            panic!("embed names a model")
        }
    };
    assert_eq!(path("models/m"), Path::new("/nowhere/models/m"));
    assert_eq!(path("/models/m"), Path::new("/models/m"));
    assert_eq!(path("stand-in:8"), Path::new("stand-in:8"));
}

/// One document with one chunk per text and language, titled and in a folder.
fn texts(texts: &[(&str, Option<&str>)]) -> RecordBatch {
    let chunks: Vec<&[&[u32]]> = vec![&[&[1]]; texts.len()];
    let rows = documents(&chunks);
    let lists = CHUNKS.of(&rows).unwrap();
    let fields = lists.values().as_struct();
    let mut columns = fields.columns().to_vec();
    let ends = texts.iter().map(|(text, _)| text.len() as u64);
    columns[1] = Arc::new(UInt64Array::from_iter_values(ends));
    columns[5] = Arc::new(StringArray::from(vec![Some("Titles > Heads"); texts.len()]));
    let fields = StructArray::new(chunk_fields(), columns, None);
    let item = Arc::new(Field::new_list_field(fields.data_type().clone(), false));
    let lists = ListArray::new(item, lists.offsets().clone(), Arc::new(fields), None);
    batch(vec![
        (URI.field(), Arc::clone(rows.column(0))),
        (CHUNKS.field(), Arc::new(lists)),
        (TEXT.field(), Arc::new(LargeStringArray::from_iter_values(texts.iter().map(|it| it.0)))),
        (LANGUAGE.field(), Arc::new(texts.iter().map(|it| it.1).collect::<StringArray>())),
        (TITLE.field(), Arc::new(StringArray::from(vec![Some("Titles"); texts.len()]))),
        (SOURCE.field(), Arc::new(StringArray::from(vec!["file://"; texts.len()]))),
    ])
}

/// The sparse vector of the only chunk of each document.
fn sparse_of(rows: &RecordBatch) -> Vec<SparseVector> {
    let lists = SPARSE.of(rows).unwrap();
    let vector = |list: ArrayRef| {
        let field = |name| list.as_struct().column_by_name(name).unwrap().as_list::<i32>().value(0);
        SparseVector {
            indices: field("indices").as_primitive::<UInt32Type>().values().to_vec(),
            values: field("values").as_primitive::<Float32Type>().values().to_vec(),
        }
    };
    lists.iter().map(|list| vector(list.unwrap())).collect()
}

#[test]
fn each_chunk_gets_its_words_in_the_language_of_its_document() {
    let rows = texts(&[
        ("The connections of pthread_mutex_lock", Some("en")),
        ("Die Verbindungen", Some("de")),
        ("", None),
        ("connecting", None),
    ]);
    let config = bound(json!({ "model": "pieces" })).unwrap();
    let words = stages::sparse_encoder(&config.identity()["sparse"]).unwrap();
    for start in 0..4 {
        let rows = rows.slice(start, 4 - start);
        let out = run(config.as_ref(), &empty_resources(), rows.clone()).rows;
        let languages = LANGUAGE.of(&rows).unwrap();
        let expected = TEXT.of(&rows).unwrap().iter().zip(languages).zip(start..);
        let expected: Vec<_> = expected
            .map(|((text, language), number)| {
                words.encode_document(&Passage {
                    headings: Some("Titles > Heads"),
                    title: Some("Titles"),
                    path: Some(&number.to_string()),
                    ..Passage::of_text(text.unwrap(), language)
                })
            })
            .collect();
        assert_eq!(sparse_of(&out), expected);
        assert!(expected.iter().all(SparseVector::is_valid));
    }
}

#[test]
fn sparse_vectors_are_of_the_identity() {
    let sparse = |options: Value| {
        let mut with = json!({ "model": "pieces" });
        with["sparse"] = options;
        bound(with).unwrap().identity()["sparse"].clone()
    };
    assert_eq!(sparse(json!("none")), Value::Null);
    assert_eq!(
        sparse(json!("bm25")),
        bound(json!({ "model": "pieces" })).unwrap().identity()["sparse"]
    );
    assert_eq!(sparse(json!("bm25")), sparse(json!({ "kind": "bm25", "k1": 1.2 })));
    assert_ne!(sparse(json!("bm25")), sparse(json!({ "k1": 2 })));
    let headings = |weight| sparse(json!({ "fields": { "headings": { "weight": weight } } }));
    assert_eq!(sparse(json!("bm25")), headings(3));
    assert_ne!(sparse(json!("bm25")), headings(2));
    insta::assert_snapshot!(
        sparse(json!("bm25")),
        @r#"{"version":2,"kind":"bm25","k1":1.2,"b":0.75,"average_length":180.0,"language":"auto","fields":{"headings":{"weight":3.0,"b":0.5,"average_length":8.0},"title":{"weight":3.0,"b":0.5,"average_length":6.0},"path":{"weight":3.0,"b":0.5,"average_length":6.0}}}"#
    );
}
