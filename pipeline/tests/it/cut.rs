//! A plan that is cut gives the same rows as the whole: the part before the cut runs, its rows
//! become text, and the part behind it, compiled from the same file, reads them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use pipeline::{
    BoxError, Engine as _, Fingerprint, LocalEngine, Outcome, RejectionReport, Resources,
    RunOptions, RunReport, Sink, SinkConfig, Source, SourceConfig,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::pipeline_runs::runtime;
use crate::support::{collected_rows, compile, fresh_name};

/// What crosses the cut.
#[derive(Serialize, Deserialize)]
struct Unit {
    fingerprint: Fingerprint,
    source: String,
    listed: Outcome,
}

/// The end of the first part: serialised units.
#[derive(Clone)]
struct Outbox {
    fingerprint: Fingerprint,
    source: String,
    sent: Arc<Mutex<Vec<String>>>,
}

impl SinkConfig for Outbox {
    fn build(&self, _: &Resources) -> Result<Box<dyn Sink>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for Outbox {
    async fn write(&mut self, rows: RecordBatch) -> Result<(), BoxError> {
        let (fingerprint, source) = (self.fingerprint, self.source.clone());
        let unit = Unit { fingerprint, source, listed: rows.into() };
        self.sent.lock().unwrap().push(serde_json::to_string(&unit)?);
        Ok(())
    }
}

/// The beginning of the second part.
#[derive(Clone)]
struct Inbox {
    schema: SchemaRef,
    received: Vec<RecordBatch>,
}

impl SourceConfig for Inbox {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn build(&self, _: &Resources) -> Result<Box<dyn Source>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Source for Inbox {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        let next = (!self.received.is_empty()).then(|| self.received.remove(0));
        Ok(next.map(Outcome::from))
    }
    fn exhausted_roots(&self) -> Vec<String> {
        Vec::new()
    }
}

fn run(plan: pipeline::Plan) -> RunReport {
    let options = RunOptions::new(&plan);
    runtime().block_on(LocalEngine.run(plan, &Resources::without_collection(), options)).unwrap()
}

/// Runs the parts of a file one after the other; returns both reports, the columns that crossed the
/// cut, and the text of all units.
fn run_cut(nodes: &str) -> (RunReport, RunReport, Vec<String>) {
    let (head, _) = compile(nodes).unwrap().cut();
    let fingerprint = compile(nodes).unwrap().fingerprint();
    let sent = Arc::<Mutex<Vec<String>>>::default();
    let head = head.with_sinks(&|source| {
        let source = source.to_owned();
        Box::new(Outbox { fingerprint, source, sent: Arc::clone(&sent) })
    });
    let before = run(head);
    let sent = sent.lock().unwrap().clone();

    let (_, tail) = compile(nodes).unwrap().cut();
    let mut received: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
    for unit in &sent {
        let unit: Unit = serde_json::from_str(unit).unwrap();
        assert_eq!(unit.fingerprint, tail.fingerprint(), "both parts are of the same pipeline");
        received.entry(unit.source).or_default().push(unit.listed.rows);
    }
    let tail = tail.with_sources(&|source, schema| {
        let received = received.get(source).cloned().unwrap_or_default();
        Box::new(Inbox { schema: Arc::clone(schema), received })
    });
    (before, run(tail), sent)
}

/// Two sources, a fork by media type, a stage that sets documents aside, a join, and two sinks.
fn nodes(docs: &[Vec<String>; 2], per_batch: usize, can_split: bool, sinks: [&str; 2]) -> String {
    let [left, right] = docs.each_ref().map(|docs| serde_json::to_string(docs).unwrap());
    let [first, second] = sinks;
    format!(
        "
  - {{ id: left, uses: memory, with: {{ docs: {left}, per_batch: {per_batch}, can_split: {can_split} }} }}
  - {{ id: right, uses: memory, with: {{ docs: {right}, first: 1000 }} }}
  - {{ id: work, uses: work, from: left }}
  - {{ id: html, uses: work, from: work, when: {{ mime_type: text/html }} }}
  - {{ id: text, uses: work, from: work, when: {{ mime_type: text/plain }} }}
  - {{ id: first, uses: keep, from: [html, text], with: {{ name: {first} }} }}
  - {{ id: second, uses: keep, from: right, with: {{ name: {second} }} }}
"
    )
}

/// The rows by URI; batches of two branches may arrive in any order.
fn sorted(rows: Option<RecordBatch>) -> Option<RecordBatch> {
    let rows = rows?;
    let order = arrow::compute::sort_to_indices(rows.column(0), None, None).unwrap();
    Some(arrow::compute::take_record_batch(&rows, &order).unwrap())
}

fn by_uri(mut rejections: Vec<RejectionReport>) -> Vec<RejectionReport> {
    rejections.sort_by(|a, b| a.uri.cmp(&b.uri));
    rejections
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_parts_together_give_the_rows_of_the_whole(
        left in proptest::collection::vec("(bad|html|)[a-c]{0,2}", 0..30),
        right in proptest::collection::vec("[a-c]{0,2}", 0..10),
        per_batch in 1_usize..7,
        can_split in any::<bool>(),
    ) {
        let docs = [left, right];
        let names = [fresh_name(), fresh_name()];
        let sinks = names.each_ref().map(String::as_str);
        let file = nodes(&docs, per_batch, can_split, sinks);

        let whole = run(compile(&file).unwrap());
        let rows = names.each_ref().map(|name| sorted(collected_rows(name)));
        let (before, behind, _) = run_cut(&file);
        let cut_rows = names.each_ref().map(|name| sorted(collected_rows(name)));

        prop_assert_eq!(rows, cut_rows);
        prop_assert_eq!(before.documents.seen, whole.documents.seen);
        prop_assert_eq!(before.documents.stored, behind.documents.seen);
        prop_assert_eq!(behind.documents.stored, whole.documents.stored);
        prop_assert_eq!(behind.reasons, whole.reasons);
        prop_assert_eq!(by_uri(behind.set_aside), by_uri(whole.set_aside));
        prop_assert_eq!(before.exhausted_roots, whole.exhausted_roots);
    }
}

/// Only what a source cannot list without reading crosses the cut with its content.
#[test]
fn content_stays_behind_the_cut_where_a_source_can_be_split() {
    let docs = [vec!["secret of the left".to_owned()], vec!["secret of the right".to_owned()]];
    let (name, other) = (fresh_name(), fresh_name());
    let columns = |can_split| {
        let (_, _, sent) = run_cut(&nodes(&docs, 1, can_split, [&name, &other]));
        let mut columns = BTreeMap::new();
        for unit in sent {
            let unit: Unit = serde_json::from_str(&unit).unwrap();
            let has_bytes = unit.listed.rows.column_by_name("bytes").is_some();
            columns.insert(unit.source, has_bytes);
        }
        columns
    };
    let expected = |left| BTreeMap::from([("left".to_owned(), left), ("right".to_owned(), true)]);
    assert_eq!(columns(true), expected(false));
    assert_eq!(columns(false), expected(true));
}
