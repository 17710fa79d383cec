//! The framework without nodes: changes of a batch, and a filter on a payload.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use criterion::{Criterion, Throughput};
use pipeline::column::CONTENT_HASH;
use pipeline::test_util::{document_rows, payload};
use pipeline::{
    Filter, KeywordField, NumericField, NumericRange, Payload, RowsExt as _, TextField,
};

/// Documents per batch, as many as `scan` reads at a time.
const ROWS: usize = 256;

fn batch(number: u64) -> RecordBatch {
    let names: Vec<String> = (0..ROWS).map(|row| format!("{number}/{row}.txt")).collect();
    let documents = names.iter().map(|name| (&**name, "text/plain", name.as_bytes()));
    document_rows(&documents.collect::<Vec<_>>())
}

fn batches(criterion: &mut Criterion) {
    let rows = batch(0);
    let hashes = arrow::array::FixedSizeBinaryArray::try_from_iter((0..ROWS).map(|_| [7_u8; 32]));
    let hashes: arrow::array::ArrayRef = Arc::new(hashes.expect("all have 32 bytes"));
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("build", |bencher| bencher.iter(|| batch(black_box(0))));
    group.bench_function("add a column", |bencher| {
        bencher.iter(|| rows.with_column(&*CONTENT_HASH, Arc::clone(&hashes)));
    });
    group.bench_function("keep every second row", |bencher| {
        bencher.iter(|| rows.filter_rows((0..ROWS).map(|row| row % 2 == 0).collect()));
    });
    group.finish();
}

fn filter(criterion: &mut Criterion) {
    let payload = Payload {
        title: Some("Staff handbook, second edition".to_owned()),
        page: Some(3),
        facts: ["author=Ada", "year=2024", "department=legal"].map(str::to_owned).to_vec(),
        ..payload("handbook.pdf", "Every contract has two signatures.")
    };
    let pages = NumericRange { gte: Some(1), lt: Some(10), ..NumericRange::default() };
    let filter: Filter = Filter::All(vec![
        Filter::In(KeywordField::Fact, vec!["department=legal".to_owned()]),
        Filter::Range(NumericField::Page, pages),
        Filter::Not(Box::new(Filter::In(KeywordField::Language, vec!["de".to_owned()]))),
        Filter::Match(TextField::Title, "handbook edition".to_owned()),
    ]);
    criterion.bench_function("filter/four conditions on a payload", |bencher| {
        bencher.iter(|| black_box(&filter).matches(black_box(&payload)));
    });
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    batches(&mut criterion);
    filter(&mut criterion);
    criterion.final_summary();
}
