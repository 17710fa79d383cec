//! Properties of a whole run, with real concurrency.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pipeline::{Engine as _, LocalEngine, RunError, RunOptions, RunReport};
use proptest::prelude::*;

use crate::support::{
    FakeStores, collected, compile, compile_file, fresh_name, recorded_batches, resources,
};

struct TestRun {
    report: RunReport,
    stores: Arc<FakeStores>,
}

pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
}

fn run_nodes(edge_bytes: u32, nodes: &str) -> Result<TestRun, RunError> {
    let yaml = format!(
        "version: 1\nname: test\ncollection: test\nedge_bytes: {edge_bytes}\nnodes:\n{nodes}"
    );
    let plan = compile_file(&yaml).unwrap();
    let stores = Arc::new(FakeStores::default());
    let options = RunOptions::new(&plan);
    let report = runtime().block_on(LocalEngine.run(plan, &resources(&stores), options))?;
    Ok(TestRun { report, stores })
}

fn docs(contents: &[String]) -> String {
    serde_json::to_string(contents).unwrap()
}

fn uri(index: usize) -> String {
    format!("mem:{index}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Every document leaves exactly once and in order, for all batch sizes and numbers of workers.
    #[test]
    fn no_document_is_lost_or_doubled(
        contents in proptest::collection::vec("(bad|html|)[a-c]{0,2}", 0..60),
        per_batch in 1usize..7,
        workers in 1usize..5,
        edge_bytes in 1024u32..4096,
    ) {
        let name = fresh_name();
        let ran = run_nodes(edge_bytes, &format!("
  - {{ id: scan, uses: memory, with: {{ docs: {}, per_batch: {per_batch} }} }}
  - {{ id: work, uses: work, from: scan, workers: {workers} }}
  - {{ id: once, uses: once, from: work }}
  - {{ id: keep, uses: keep, from: once, with: {{ name: {name} }} }}
", docs(&contents))).unwrap();

        let mut first = HashSet::new();
        let stored: Vec<String> = contents.iter().enumerate()
            .filter(|(_, text)| !text.starts_with("bad") && first.insert((*text).clone()))
            .map(|(index, _)| uri(index)).collect();
        prop_assert_eq!(&collected(&name), &stored, "order is kept");

        let counts = ran.report.documents;
        let bad = contents.iter().filter(|text| text.starts_with("bad")).count() as u64;
        prop_assert_eq!(counts.seen, contents.len() as u64);
        prop_assert_eq!(counts.stored, stored.len() as u64);
        prop_assert_eq!(counts.set_aside, bad);
        prop_assert_eq!(counts.seen, counts.stored + counts.unchanged + counts.duplicate + counts.set_aside);
        prop_assert_eq!(ran.report.failed_count(), bad);
        let recorded = ran.stores.recorded.lock().unwrap();
        prop_assert_eq!(recorded.len() as u64, counts.set_aside + counts.duplicate);
    }

    /// After a fork, each document goes where its row matches, or is set aside if no branch takes
    /// it; after a join, a document that took both branches still counts once.
    #[test]
    fn forks_and_joins_keep_account(
        contents in proptest::collection::vec("(bad|html|)[a-c]{0,5}", 0..60),
        per_batch in 1usize..7,
        workers in 1usize..4,
    ) {
        let name = fresh_name();
        let ran = run_nodes(1024, &format!("
  - {{ id: scan, uses: memory, with: {{ docs: {}, per_batch: {per_batch} }} }}
  - {{ id: html, uses: work, from: scan, when: {{ mime_type: 'text/h*' }}, workers: {workers} }}
  - {{ id: long, uses: work, from: scan, when: {{ size: {{ min: 3 }} }} }}
  - {{ id: keep, uses: keep, from: [html, long], with: {{ name: {name} }} }}
", docs(&contents))).unwrap();

        let is_html = |text: &String| text.starts_with("html");
        let (mut once, mut unrouted, mut failed, mut writes) = (0, 0, 0, 0);
        for text in &contents {
            let branches = usize::from(is_html(text)) + usize::from(text.len() >= 3);
            match branches {
                0 => unrouted += 1,
                _ if text.starts_with("bad") => failed += 1,
                branches => { once += 1; writes += branches; }
            }
        }
        prop_assert_eq!(collected(&name).len(), writes);
        prop_assert_eq!(ran.report.documents.stored, once);
        prop_assert_eq!(ran.report.reasons.get("unrouted").copied().unwrap_or(0), unrouted);
        prop_assert_eq!(ran.report.failed_count(), failed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Adaptive batches keep to their bounds for all sizes of input, and change only the sizes of
    /// batches.
    #[test]
    fn windows_keep_order_and_bounds(
        count in 0usize..400,
        per_batch in 1usize..60,
        first in 1usize..20,
        more in 0usize..60,
        edge_bytes in 1024u32..65536,
    ) {
        let name = fresh_name();
        let contents: Vec<String> = (0..count).map(|n| format!("text {n}")).collect();
        let most = first + more;
        let ran = run_nodes(edge_bytes, &format!("
  - {{ id: scan, uses: memory, with: {{ docs: {}, per_batch: {per_batch} }} }}
  - {{ id: windows, uses: windows, from: scan, with: {{ name: {name}, first: {first}, at_least: {most} }} }}
  - {{ id: keep, uses: keep, from: windows, with: {{ name: {name} }} }}
", docs(&contents))).unwrap();
        prop_assert_eq!(ran.report.documents.stored, count as u64);
        prop_assert_eq!(collected(&name), (0..count).map(uri).collect::<Vec<_>>());
        let windows = recorded_batches(&name);
        prop_assert_eq!(windows.iter().sum::<usize>(), count);
        prop_assert!(windows.iter().all(|rows| (1..=most).contains(rows)), "{windows:?}");
        prop_assert!(windows.first().is_none_or(|rows| *rows <= first), "{windows:?}");
    }
}

/// The source produces a document only after the previous one is stored, so a node that waits for a
/// full batch would wait for ever.
#[test]
fn rows_are_not_held_back_for_a_source_that_has_no_more() {
    for (first, at_least) in [("null", 1000), ("100", 1000)] {
        let name = fresh_name();
        let nodes = format!(
            "
  - {{ id: scan, uses: one_by_one, with: {{ name: {name}, count: 5 }} }}
  - {{ id: windows, uses: windows, from: scan,
      with: {{ name: {name}, first: {first}, at_least: {at_least}, hold: 20 }} }}
  - {{ id: keep, uses: keep, from: windows, with: {{ name: {name} }} }}
"
        );
        let ran = run_nodes(1024, &nodes).unwrap();
        assert_eq!(ran.report.documents.stored, 5);
        assert_eq!(recorded_batches(&name), [1; 5]);
    }
}

/// Without a time limit, the node would wait for ever for the second document, which the source
/// produces after the first one is stored.
#[test]
fn an_idle_node_starts_before_its_batch_is_full() {
    let name = fresh_name();
    let nodes = format!(
        "
  - {{ id: scan, uses: one_by_one, with: {{ name: {name}, count: 5 }} }}
  - {{ id: windows, uses: windows, from: scan, with: {{ name: {name}, at_least: 1000, idle: 1 }} }}
  - {{ id: keep, uses: keep, from: windows, with: {{ name: {name} }} }}
"
    );
    let ran = run_nodes(1024, &nodes).unwrap();
    assert_eq!(ran.report.documents.stored, 5);
    assert_eq!(recorded_batches(&name), [1; 5]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A batch of a node with an idle weight has at least that weight, except the last one.
    #[test]
    fn an_idle_node_takes_at_least_its_idle_weight(
        count in 0usize..400,
        per_batch in 1usize..20,
        idle in 1usize..30,
        more in 0usize..60,
    ) {
        let name = fresh_name();
        let contents: Vec<String> = (0..count).map(|n| format!("text {n}")).collect();
        let most = idle + more;
        let ran = run_nodes(65536, &format!("
  - {{ id: scan, uses: memory, with: {{ docs: {}, per_batch: {per_batch} }} }}
  - {{ id: windows, uses: windows, from: scan, with: {{ name: {name}, at_least: {most}, idle: {idle} }} }}
  - {{ id: keep, uses: keep, from: windows, with: {{ name: {name} }} }}
", docs(&contents))).unwrap();
        prop_assert_eq!(ran.report.documents.stored, count as u64);
        prop_assert_eq!(collected(&name), (0..count).map(uri).collect::<Vec<_>>());
        let windows = recorded_batches(&name);
        prop_assert_eq!(windows.iter().sum::<usize>(), count);
        let full = windows.split_last().map_or(&[][..], |(_, full)| full);
        prop_assert!(full.iter().all(|rows| (idle..most + per_batch).contains(rows)), "{windows:?}");
    }
}

/// A source of many documents before a slow sink, stopped once a few documents are stored: the
/// source is only as far ahead as the queues allow, and documents in flight are stored.
#[test]
fn a_slow_sink_holds_the_source_back_and_stopping_drains() {
    let contents: Vec<String> = (0..2_000).map(|index| format!("{index:0200}")).collect();
    let name = fresh_name();
    let yaml = format!(
        "
version: 1
name: test
collection: test
edge_bytes: 1024
nodes:
  - {{ id: scan, uses: memory, with: {{ docs: {} }} }}
  - {{ id: work, uses: work, from: scan, workers: 2 }}
  - {{ id: keep, uses: keep, from: work, with: {{ name: {name}, pause: 5 }} }}
",
        docs(&contents)
    );
    let plan = compile_file(&yaml).unwrap();
    let stores = Arc::new(FakeStores::default());
    let options = RunOptions::new(&plan);
    let (stop, metrics) = (options.stop.clone(), Arc::clone(&options.metrics));
    let mut seen_when_stopped = 0;
    let report = runtime().block_on(async {
        let with = resources(&stores);
        let running = LocalEngine.run(plan, &with, options);
        let stopping = async {
            while metrics.outcomes().get("stored").copied().unwrap_or(0) < 10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen_when_stopped = metrics.documents_seen();
            stop.cancel();
        };
        let (report, ()) = tokio::join!(running, stopping);
        report.unwrap()
    });
    assert!(report.stopped);
    // Two queues of 1,024 bytes, documents of about 250 bytes, and a few in progress.
    assert!(seen_when_stopped < 60, "the source was {seen_when_stopped} documents ahead");
    assert_eq!(report.documents.seen, report.documents.stored, "documents in flight are stored");
    assert_eq!(collected(&name).len() as u64, report.documents.stored);
}

/// Two sources find the same documents: each is stored once and counts once as a duplicate.
#[test]
fn the_same_place_found_twice_is_stored_once() {
    let contents: Vec<String> = (0..50).map(|index| index.to_string()).collect();
    let name = fresh_name();
    let ran = run_nodes(
        1024,
        &format!(
            "
  - {{ id: left, uses: memory, with: {{ docs: {0} }} }}
  - {{ id: right, uses: memory, with: {{ docs: {0} }} }}
  - {{ id: once, uses: once, from: [left, right] }}
  - {{ id: keep, uses: keep, from: once, with: {{ name: {name} }} }}
",
            docs(&contents)
        ),
    )
    .unwrap();
    let counts = ran.report.documents;
    assert_eq!((counts.seen, counts.stored, counts.duplicate), (100, 50, 50));
    let mut stored = collected(&name);
    stored.sort_by_key(|uri| uri[4..].parse::<usize>().unwrap());
    assert_eq!(stored, (0..50).map(uri).collect::<Vec<_>>());
}

/// A stage that returns a document twice ends the run with an error.
#[test]
fn a_document_that_comes_out_twice_is_told() {
    let name = fresh_name();
    let error = run_nodes(
        1024,
        &format!(
            "
  - {{ id: scan, uses: memory, with: {{ docs: [double, b] }} }}
  - {{ id: work, uses: work, from: scan }}
  - {{ id: keep, uses: keep, from: work, with: {{ name: {name} }} }}
"
        ),
    )
    .err()
    .unwrap();
    assert_eq!(error.to_string(), "a node returned the document mem:0 more than once");
}

/// A panic while rejections are recorded ends the run.
#[test]
fn a_record_that_panics_is_told() {
    let plan = compile(
        "
  - { id: scan, uses: memory, with: { docs: [bad] } }
  - { id: work, uses: work, from: scan }
  - { id: keep, uses: keep, from: work, with: { name: nobody } }
",
    )
    .unwrap();
    let stores = Arc::new(FakeStores { record_panics: true, ..FakeStores::default() });
    let options = RunOptions::new(&plan);
    let error =
        runtime().block_on(LocalEngine.run(plan, &resources(&stores), options)).err().unwrap();
    let expected = "node `rejection recorder` panicked: the store is broken";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_document_larger_than_an_edge_travels_alone() {
    let contents: Vec<String> = (0..20).map(|index| format!("{index:05000}")).collect();
    let name = fresh_name();
    let ran = run_nodes(
        1024,
        &format!(
            "
  - {{ id: scan, uses: memory, with: {{ docs: {}, per_batch: 3 }} }}
  - {{ id: keep, uses: keep, from: scan, with: {{ name: {name} }} }}
",
            docs(&contents)
        ),
    )
    .unwrap();
    assert_eq!(ran.report.documents.stored, 20);
    assert_eq!(collected(&name), (0..20).map(uri).collect::<Vec<_>>());
}

/// Runs documents, one of them with this content, and returns the error of the run.
fn run_ending(content: &str, sink: &str) -> String {
    let mut contents: Vec<String> = (0..200).map(|index| index.to_string()).collect();
    contents[50] = content.to_owned();
    let name = fresh_name();
    let nodes = format!(
        "
  - {{ id: scan, uses: memory, with: {{ docs: {} }} }}
  - {{ id: work, uses: work, from: scan, workers: 3 }}
  - {{ id: store, uses: keep, from: work, with: {{ name: {name} {sink} }} }}
",
        docs(&contents)
    );
    let error = run_nodes(1024, &nodes).err().unwrap();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[test]
fn whoever_fails_is_named_and_no_echo_of_it() {
    assert_eq!(run_ending("x", ", fail: true"), "node `store` failed: the disk is on fire");
    assert_eq!(run_ending("error", ""), "node `work` failed: the stage has failed");
}

#[test]
fn whoever_panics_is_named() {
    assert_eq!(run_ending("x", ", panic: true"), "node `store` panicked: the sink is broken");
    assert_eq!(run_ending("panic", ""), "node `work` panicked: the stage is broken");
    assert_eq!(run_ending("source panics", ""), "node `scan` panicked: the source is broken");
}

#[test]
fn metrics_count_what_the_report_says() {
    let contents: Vec<String> = ["a", "bad", "b", "a"].map(str::to_owned).to_vec();
    let name = fresh_name();
    let yaml = format!(
        "
version: 1
name: metrics
collection: test
nodes:
  - {{ id: scan, uses: memory, with: {{ docs: {} }} }}
  - {{ id: work, uses: work, from: scan }}
  - {{ id: once, uses: once, from: work }}
  - {{ id: keep, uses: keep, from: once, with: {{ name: {name} }} }}
",
        docs(&contents)
    );
    let plan = compile_file(&yaml).unwrap();
    let options = RunOptions::new(&plan);
    let metrics = Arc::clone(&options.metrics);
    let stores = Arc::new(FakeStores::default());
    runtime().block_on(LocalEngine.run(plan, &resources(&stores), options)).unwrap();
    let text = metrics.encode_text();
    let counts: Vec<&str> = text
        .lines()
        .filter(|line| {
            !line.starts_with('#') && !line.contains("seconds") && !line.contains("bytes_in")
        })
        .collect();
    insta::assert_snapshot!(counts.join("\n"));
}
