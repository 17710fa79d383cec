//! `semantik embed`: the output has the vectors of the model, in the order of the input.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use arrow::array::{Array as _, AsArray as _, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::{EmbedderOptions, ModelProvider as _, TextKind};
use serde_json::{Value, json};

use crate::process::{CommandOutput, ROOT, command_with_libtorch, ran, wait_for};

/// A small model with prompts for documents and queries.
fn model() -> PathBuf {
    Path::new(ROOT).join("embedding/tests/reference/tiny-qwen3")
}

fn embed(args: &[&str], input: &str) -> CommandOutput {
    let model = model();
    let mut embed = command_with_libtorch(&["embed", "--model", model.to_str().unwrap()]);
    embed.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = embed.spawn().unwrap();
    // A command that fails before reading closes the pipe.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    ran(child.wait_with_output().unwrap())
}

/// The vectors that the library computes for these texts.
fn expected_vectors(texts: &[&str], kind: TextKind) -> Vec<Vec<f32>> {
    let engine = embedding::EmbeddingEngine::new();
    let options = EmbedderOptions {
        device: "cpu".into(),
        dtype: "float32".into(),
        tokens_per_batch: None,
        dim: None,
    };
    let tokenizer = engine.tokenizer(&model()).unwrap();
    let embedder = engine.embedder(&model(), &options).unwrap();
    let vector =
        |text: &&str| embedder.embed(&[&tokenizer.encode_input(text, kind).unwrap().ids]).unwrap();
    texts.iter().map(vector).collect()
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-5, "got {found}, expected {wanted}");
    }
}

fn vector(object: &Value) -> Vec<f32> {
    serde_json::from_value(object["vector"].clone()).unwrap()
}

fn read(file: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let schema = std::sync::Arc::clone(builder.schema());
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn vectors(rows: &RecordBatch) -> Vec<Vec<f32>> {
    let lists = rows.column_by_name("vector").unwrap().as_fixed_size_list();
    let list = |row| lists.value(row).as_primitive::<Float32Type>().values().to_vec();
    (0..lists.len()).map(list).collect()
}

#[test]
fn lines_become_vectors_in_their_order() {
    let texts = ["the river", "", "a bridge over the river is lit", "the river"];
    let long = "index ".repeat(600);
    let ran = embed(&[], &format!("{}\r\n{long}", texts.join("\n")));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let found = objects(&ran.stdout);
    assert_eq!(found.len(), 5);
    for (found, wanted) in found.iter().zip(expected_vectors(&texts, TextKind::Document)) {
        assert_close(&vector(found), &wanted);
    }
    assert_eq!(found[2]["text"], texts[2]);
    assert_eq!(vector(&found[4]).len(), 32);
    // One text per forward pass gives the same vectors.
    let alone = embed(&["--tokens-per-batch", "1"], &texts.join("\n"));
    assert_eq!(alone.code, 0, "{}", alone.stderr);
    for (alone, together) in objects(&alone.stdout).iter().zip(&found) {
        assert_close(&vector(alone), &vector(together));
    }
    assert_eq!(embed(&["--tokens-per-batch", "0"], "").code, 64);
    let last = ran.stderr.lines().last().unwrap();
    assert!(last.starts_with("5 texts (1 truncated), ") && last.ends_with(" tokens/s"), "{last}");
}

#[test]
fn questions_get_their_prefix_and_other_fields_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("questions.jsonl");
    let lines = [json!({"id": 7, "text": "why is it lit", "tags": ["a"]}), json!({"text": "who"})];
    std::fs::write(&input, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
    let input = input.to_str().unwrap();
    let ran = embed(&["--input", input, "--kind", "query"], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut found = objects(&ran.stdout);
    let wanted = expected_vectors(&["why is it lit", "who"], TextKind::Query);
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_close(&vector(found), wanted);
    }
    found[0].as_object_mut().unwrap().remove("vector");
    assert_eq!(found[0], lines[0]);

    let output = folder.path().join("vectors.parquet");
    let output = output.to_str().unwrap();
    let ran = embed(&["--input", input, "--output", output, "--kind", "query"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let rows = read(Path::new(output));
    for (found, wanted) in vectors(&rows).iter().zip(&wanted) {
        assert_close(found, wanted);
    }
    let fields: Value = serde_json::from_str(rows["fields"].as_string::<i32>().value(0)).unwrap();
    assert_eq!(fields, json!({"id": 7, "tags": ["a"]}));
}

#[test]
fn columns_are_kept_over_many_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.parquet"), folder.path().join("out.parquet"));
    // The input spans several batches, which must stay in order.
    let count = 9000;
    let texts: Vec<String> = (0..count).map(|nth| format!("text {}", nth % 50)).collect();
    let schema = Schema::new(vec![
        Field::new("text", DataType::Utf8, false),
        Field::new("number", DataType::Int32, false),
    ]);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        std::sync::Arc::new(StringArray::from(texts)),
        std::sync::Arc::new(Int32Array::from_iter_values(0..count)),
    ];
    let rows = RecordBatch::try_new(schema.into(), columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(&input).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();

    let paths = [input.to_str().unwrap(), output.to_str().unwrap()];
    let ran = embed(&["--input", paths[0], "--output", paths[1], "--dim", "8"], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let found = read(&output);
    assert_eq!(found.project(&[0, 1]).unwrap(), rows);
    let found = vectors(&found);
    assert_eq!(found.len(), 9000);
    let mut first = expected_vectors(&["text 37"], TextKind::Document).remove(0);
    first.truncate(8);
    let length = first.iter().map(|number| number * number).sum::<f32>().sqrt();
    let first: Vec<f32> = first.iter().map(|number| number / length).collect();
    for nth in [37, 4087, 8987] {
        assert_close(&found[nth], &first);
    }
    assert!(!folder.path().join("out.parquet.part").exists());
}

#[test]
fn what_cannot_be_embedded_is_refused_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, content: &[u8], args: &[&str]| {
        let input = folder.path().join(name);
        std::fs::write(&input, content).unwrap();
        let ran = embed(&[&["--input", input.to_str().unwrap()], args].concat(), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        let said = ran.stderr.lines().last().unwrap();
        said.replace(folder.path().to_str().unwrap(), "…")
    };
    let good = "{\"text\": \"a\"}\n";
    insta::assert_snapshot!(refused("a.jsonl", format!("{good}no\n").as_bytes(), &[]), @"semantik: `…/a.jsonl`: line 2 is not a JSON object");
    insta::assert_snapshot!(refused("a.jsonl", format!("{good}{{}}").as_bytes(), &[]), @"semantik: `…/a.jsonl`: line 2 has no string field `text`");
    insta::assert_snapshot!(refused("a.jsonl", b"{\"text\": \"a\", \"vector\": 1}", &[]), @"semantik: `…/a.jsonl`: line 1 already has a field `vector`");
    insta::assert_snapshot!(refused("a.txt", b"fine\n\xff\n", &[]), @"semantik: `…/a.txt`: line 2 is not UTF-8");
    insta::assert_snapshot!(refused("a.txt", b"fine\n", &["--dim", "64"]), @"semantik: invalid dimension 64: model `tinyqwen3` has 32 dimensions");
    insta::assert_snapshot!(refused("a.txt", b"fine\n", &["--dtype", "int3"]), @"semantik: invalid dtype `int3`: expected auto, float32, bfloat16, float16 or int8");
    let output = folder.path().join("out.parquet");
    refused("a.txt", b"fine\n\xff\n", &["--output", output.to_str().unwrap()]);
    assert!(!output.exists() && !folder.path().join("out.parquet.part").exists());
    let none = embed(&["--model", "/no/such"], "");
    assert_eq!(none.code, 64, "`--model` may be given once");
}

#[test]
fn it_ends_when_its_reader_has_gone_though_there_might_be_more_to_read() {
    let mut embed = command_with_libtorch(&["embed", "--model", model().to_str().unwrap()]);
    embed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = embed.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let piece = "the river\n".repeat(4096);
    input.write_all(piece.as_bytes()).unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    drop(output);
    // The command may have ended already.
    input.write_all(piece.as_bytes()).ok();
    let ended = wait_for("the end of the process", || child.try_wait().unwrap());
    assert!(ended.success());
    drop(input);
}

#[test]
fn columns_without_rows_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.parquet"), folder.path().join("out.parquet"));
    let fields = vec![
        Field::new("number", DataType::Int32, false),
        Field::new("text", DataType::LargeUtf8, false),
    ];
    let file = File::create(&input).unwrap();
    ArrowWriter::try_new(file, Schema::new(fields).into(), None).unwrap().close().unwrap();
    let paths = [input.to_str().unwrap(), output.to_str().unwrap()];
    let ran = embed(&["--input", paths[0], "--output", paths[1]], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let schema = read(&output).schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["number", "text", "vector"]);
}

#[test]
fn nothing_gives_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("none.parquet");
    let ran = embed(&["--output", output.to_str().unwrap()], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows = read(&output);
    assert_eq!((rows.num_rows(), rows.num_columns()), (0, 2));
}
