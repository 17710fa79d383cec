//! The stages in this process, without the extract worker: hashing, extraction of text, HTML and
//! Markdown, chunking by characters, and sparse encoding.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use criterion::{BatchSize, Criterion, Throughput};
use pipeline::test_util::{document_rows, no_resources};
use pipeline::{NodeKind, Passage, Stage};
use serde_json::{Value, json};

/// Sections of a document; each is about 550 bytes.
const SECTIONS: usize = 200;

const SENTENCES: [&str; 5] = [
    "The lease of an operation expires if its process sends no heartbeat.",
    "A worker that finds an expired lease takes the operation over and repairs its state.",
    "Each transaction locks the row of the operation, so a late writer changes nothing.",
    "Vectors are durable before the metadata refers to them.",
    "After a crash the next run writes the same points again under the same ids.",
];

fn paragraph(section: usize) -> String {
    let mut order = SENTENCES;
    order.rotate_left(section % SENTENCES.len());
    format!("{} Section {section} continues with an identifier: retry_{section}.", order.join(" "))
}

fn plain_text() -> String {
    (0..SECTIONS).map(|section| paragraph(section) + "\n\n").collect()
}

fn markdown() -> String {
    let mut out = "# Operations\n\n".to_owned();
    for section in 0..SECTIONS {
        let text = paragraph(section);
        write!(out, "## Section {section}\n\n{text}\n\n- *first* item\n- `second` item\n\n")
            .expect("writing to a string cannot fail");
    }
    out
}

fn html() -> String {
    let mut out = "<!doctype html><html lang=en><title>Operations</title><body><nav><ul>\
                   <li><a href=/>Home</a></ul></nav><main><h1>Operations</h1>"
        .to_owned();
    for section in 0..SECTIONS {
        let text = paragraph(section);
        write!(out, "<h2>Section {section}</h2><p>{text}<ul><li>first<li><b>second</b></ul>")
            .expect("writing to a string cannot fail");
    }
    out + "</main><footer>Imprint</footer></html>"
}

fn stage(name: &str, options: Value) -> Box<dyn Stage> {
    let def = stages::NODES.iter().find(|def| def.name == name).expect("the stage exists");
    match (def.parse)(options, Path::new("/")).expect("the options are valid") {
        NodeKind::Stage(config) => config.build(&no_resources()).expect("it needs no resource"),
        NodeKind::Source(_) | NodeKind::Sink(_) => unreachable!("`{name}` is a stage"),
    }
}

fn process(stage: &mut dyn Stage, rows: RecordBatch) -> RecordBatch {
    let outcome = stage.process(rows).expect("the stage does not fail");
    assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
    outcome.rows
}

fn bench_stage(criterion: &mut Criterion, name: &str, mut stage: Box<dyn Stage>, rows: &Input) {
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Bytes(rows.bytes));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || rows.batch.clone(),
            |batch| process(stage.as_mut(), batch),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// One document as a batch, with the size of its content.
struct Input {
    batch: RecordBatch,
    bytes: u64,
}

impl Input {
    fn new(name: &str, mime_type: &str, content: &str) -> Self {
        let batch = document_rows(&[(name, mime_type, content.as_bytes())]);
        Self { batch, bytes: content.len() as u64 }
    }

    fn extracted(&self) -> Self {
        let mut extract = stage("extract", json!({}));
        Self { batch: process(extract.as_mut(), self.batch.clone()), bytes: self.bytes }
    }
}

fn sparse(criterion: &mut Criterion) {
    let encoder = stages::default_sparse_encoder();
    let passage: String = (0..4).map(paragraph).collect();
    let described = Passage {
        headings: Some("Operations > Leases of operations"),
        title: Some("Operations"),
        path: Some("guide/operations.md"),
        ..Passage::of_text(&passage, Some("en"))
    };
    let languages = ["en".to_owned(), "de".to_owned()];
    let mut group = criterion.benchmark_group("sparse");
    group.throughput(Throughput::Bytes(passage.len() as u64));
    group.bench_function("encode a passage", |bencher| {
        bencher.iter(|| encoder.encode_document(black_box(&described)));
    });
    let query = encoder.encode_query("expired lease of a worker", &languages);
    group.bench_function("find the terms of a query", |bencher| {
        bencher.iter(|| encoder.match_ranges(black_box(&passage), Some("en"), &query));
    });
    group.finish();
    criterion.bench_function("sparse/encode a query in two languages", |bencher| {
        bencher.iter(|| encoder.encode_query(black_box("expired lease of a worker"), &languages));
    });
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    let text = Input::new("operations.txt", "text/plain", &plain_text());
    let markdown = Input::new("operations.md", "text/markdown", &markdown());
    let html = Input::new("operations.html", "text/html", &html());
    bench_stage(&mut criterion, "hash", stage("hash", json!({})), &text);
    for (name, input) in [("text", &text), ("Markdown", &markdown), ("HTML", &html)] {
        let extract = stage("extract", json!({}));
        bench_stage(&mut criterion, &format!("extract {name}"), extract, input);
    }
    let extracted = markdown.extracted();
    for strategy in ["recursive", "markdown", "fixed"] {
        let options = json!({ "strategy": strategy, "unit": "characters", "size": 1000 });
        let chunk = stage("chunk", options);
        bench_stage(&mut criterion, &format!("chunk {strategy}"), chunk, &extracted);
    }
    sparse(&mut criterion);
    criterion.final_summary();
}
