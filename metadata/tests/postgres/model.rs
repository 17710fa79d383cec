//! Runs against a changing folder, with kills at any step: after the next complete run, the stores
//! equal those of a run into empty ones.
//!
//! Folder, scan, deduplication and vectors are minimal models of the real ones; the metadata store
//! is the real one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use metadata::{
    Collection, GenerationSlot, OperationOutcome, OperationType, RunMetadata, WaitPolicy,
};
use pipeline::{
    ContentHash, IncomingDocument, KnownState, Lifecycle as _, Location, MetadataStore as _,
    RejectReason, Rejection, StoredDocument,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Database, content, corrupt, settings};

/// A step between checks.
#[derive(Clone, Debug)]
enum Step {
    /// Gives a file a content, new or equal to that of another file.
    Write { file: u8, content: u8 },
    /// Exchanges two files.
    Swap(u8, u8),
    /// Changes the times of a file, not its content.
    Touch(u8),
    /// Changes the options of the pipeline.
    Settings(u8),
    /// A complete run.
    Run(RunOrder),
    /// A run that is killed after this number of steps.
    Killed(u32, RunOrder),
}

/// Order of the work in a run, which its input does not determine.
#[derive(Clone, Debug)]
struct RunOrder {
    batch: usize,
    backwards: bool,
    /// `true`: documents that left early are recorded before the sink writes.
    early: bool,
    /// `true`: they are recorded between `identify` and the writes of the sink.
    between: bool,
}

fn order() -> impl Strategy<Value = RunOrder> {
    (1_usize..6, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(batch, backwards, early, between)| RunOrder { batch, backwards, early, between },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..5, 0_u8..6).prop_map(|(file, content)| Step::Write { file, content }),
        2 => (0_u8..5, 0_u8..5).prop_map(|(a, b)| Step::Swap(a, b)),
        1 => (0_u8..5).prop_map(Step::Touch),
        1 => (0_u8..3).prop_map(Step::Settings),
        3 => order().prop_map(Step::Run),
        3 => (0_u32..25, order()).prop_map(|(after, order)| Step::Killed(after, order)),
    ]
}

/// File number to its content and a number that changes with every change of the file.
type Folder = BTreeMap<u8, (u8, i64)>;
/// Points by document and index, with the content and settings they were computed from.
type Points = BTreeMap<(Uuid, u32), (u8, u8)>;

/// The process was killed.
struct Killed;

struct ModelWorld<'a> {
    database: &'a Database,
    collection: Collection,
    folder: Folder,
    points: Points,
    settings: u8,
    clock: i64,
}

/// Remaining steps of a run before its kill; `None` for a complete run.
struct StepBudget(Option<u32>);

impl StepBudget {
    fn step(&mut self) -> Result<(), Killed> {
        match &mut self.0 {
            None => Ok(()),
            Some(0) => Err(Killed),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

fn fails(number: u8, settings: u8) -> bool {
    number == 5 && settings != 1
}

fn chunks(number: u8, settings: u8) -> u32 {
    1 + u32::from(number % 3) + 2 * u32::from(settings)
}

impl ModelWorld<'_> {
    fn location(&self, file: u8) -> Location {
        Location {
            uri: format!("file:///{file}"),
            source: "/".to_owned(),
            size: 1,
            mtime: Some(self.folder[&file].1),
            ctime: None,
            inode: None,
        }
    }

    async fn run(&mut self, order: &RunOrder, mut life: StepBudget) -> Result<(), Killed> {
        let postgres = &self.database.postgres;
        let operation = postgres
            .start_operation(
                &self.collection,
                OperationType::Append,
                &json!({}),
                WaitPolicy::FailIfBusy,
            )
            .await
            .unwrap();
        let metadata = operation.metadata(GenerationSlot::Live, settings(self.settings));
        self.purge(&metadata, &mut life).await?;
        let mut passes = 0;
        loop {
            self.pass(&metadata, order, &mut life).await?;
            passes += 1;
            assert!(passes < 4, "passes over an unchanged folder must converge");
            if metadata.count_unattached().await.unwrap() == 0 {
                break;
            }
        }
        self.purge(&metadata, &mut life).await?;
        operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
        Ok(())
    }

    async fn pass(
        &mut self,
        metadata: &RunMetadata,
        order: &RunOrder,
        life: &mut StepBudget,
    ) -> Result<(), Killed> {
        let known = metadata.known_hashes().await.unwrap();
        let mut seen: HashSet<ContentHash> = HashSet::new();
        let mut files: Vec<u8> = self.folder.keys().copied().collect();
        if order.backwards {
            files.reverse();
        }
        for batch in files.chunks(order.batch) {
            let mut left = Vec::new();
            let mut rows = Vec::new();
            let uris: Vec<_> = batch.iter().map(|file| self.location(*file).uri).collect();
            let located = metadata.lookup_locations(&uris).await.unwrap();
            for (file, located) in batch.iter().zip(located) {
                let location = self.location(*file);
                let number = self.folder[file].0;
                let hash = content(number);
                let same_stat = located.as_ref().is_some_and(|known| known.location == location);
                let (state, before) = match located {
                    Some(located) => (Some(located.state), located.content_hash),
                    None => (None, None),
                };
                let (content_hash, why) = match state {
                    Some(KnownState::Stored) if same_stat => (None, RejectReason::Unchanged),
                    Some(KnownState::Rejected { node, reason, message, since }) if same_stat => {
                        (None, RejectReason::PreviouslyRejected { node, reason, message, since })
                    }
                    Some(KnownState::Stored) if before == Some(hash) => {
                        (Some(hash), RejectReason::MetadataChanged)
                    }
                    _ if known.contains(&hash) || !seen.insert(hash) => {
                        (Some(hash), RejectReason::Duplicate)
                    }
                    _ if fails(number, self.settings) => (Some(hash), corrupt()),
                    _ => {
                        rows.push((number, IncomingDocument { location, content_hash: hash }));
                        continue;
                    }
                };
                left.push(("node".to_owned(), Rejection { location, content_hash, reason: why }));
            }
            if order.early {
                self.record(metadata, std::mem::take(&mut left), life).await?;
            }
            let between = if order.between { std::mem::take(&mut left) } else { Vec::new() };
            self.sink(metadata, &rows, between, life).await?;
            self.record(metadata, left, life).await?;
        }
        Ok(())
    }

    /// Same order of calls as the node `upsert`.
    async fn sink(
        &mut self,
        metadata: &RunMetadata,
        rows: &[(u8, IncomingDocument)],
        between: Vec<(String, Rejection)>,
        life: &mut StepBudget,
    ) -> Result<(), Killed> {
        let incoming: Vec<_> = rows.iter().map(|(_, incoming)| incoming.clone()).collect();
        let places = metadata.assign_ids(&incoming).await.unwrap();
        assert_eq!(
            metadata.assign_ids(&incoming).await.unwrap(),
            places,
            "a second call gives the same result"
        );
        life.step()?;
        self.record(metadata, between, life).await?;
        let mut stored = Vec::new();
        for ((number, incoming), place) in rows.iter().zip(places) {
            let count = chunks(*number, self.settings);
            if place.previous_chunks == 0 {
                self.points.retain(|(document, _), _| *document != place.document);
            }
            for index in 0..count {
                life.step()?;
                self.points.insert((place.document, index), (*number, self.settings));
            }
            if place.previous_chunks > count {
                life.step()?;
                self.points
                    .retain(|(document, index), _| *document != place.document || *index < count);
            }
            stored.push(StoredDocument {
                incoming: incoming.clone(),
                document: place.document,
                mime_type: "text/plain".to_owned(),
                title: None,
                language: None,
                metadata: json!({}),
                chunks: count,
                digest: [0; 32],
            });
        }
        life.step()?;
        let lost = metadata.commit(&stored).await.unwrap();
        life.step()?;
        self.remove(&lost);
        life.step()?;
        metadata.mark_purged(&lost).await.unwrap();
        Ok(())
    }

    /// Same as the runtime. Points of lost documents are removed at the end of the run: the sink
    /// may be restoring one of these documents.
    async fn record(
        &self,
        metadata: &RunMetadata,
        left: Vec<(String, Rejection)>,
        life: &mut StepBudget,
    ) -> Result<(), Killed> {
        life.step()?;
        metadata.record_rejections(&left).await.unwrap();
        Ok(())
    }

    async fn purge(&mut self, metadata: &RunMetadata, life: &mut StepBudget) -> Result<(), Killed> {
        loop {
            let unpurged = metadata.unpurged(2).await.unwrap();
            if unpurged.is_empty() {
                return Ok(());
            }
            self.remove(&unpurged);
            life.step()?;
            metadata.mark_purged(&unpurged).await.unwrap();
        }
    }

    fn remove(&mut self, documents: &[Uuid]) {
        self.points.retain(|(document, _), _| !documents.contains(document));
    }

    /// Checks every guarantee after a run.
    async fn check(&self) {
        let operation = self
            .database
            .postgres
            .start_operation(
                &self.collection,
                OperationType::Append,
                &json!({}),
                WaitPolicy::FailIfBusy,
            )
            .await
            .unwrap();
        let metadata = operation.metadata(GenerationSlot::Live, settings(self.settings));
        let contents: BTreeSet<u8> = self.folder.values().map(|(content, _)| *content).collect();
        let good: BTreeSet<u8> =
            contents.iter().copied().filter(|number| !fails(*number, self.settings)).collect();
        assert_eq!(
            metadata.known_hashes().await.unwrap(),
            good.iter().map(|number| content(*number)).collect(),
            "exactly the contents of the folder are stored"
        );
        for (file, (number, _)) in &self.folder {
            let location = self.location(*file);
            let known = metadata
                .lookup_locations(std::slice::from_ref(&location.uri))
                .await
                .unwrap()
                .remove(0)
                .unwrap();
            assert_eq!((known.location, known.content_hash), (location, Some(content(*number))));
            match &known.state {
                KnownState::Stored => assert!(good.contains(number)),
                KnownState::Rejected { .. } => assert!(!good.contains(number)),
                KnownState::Stale | KnownState::Unreadable { .. } | KnownState::Withheld { .. } => {
                    panic!("file {file} is {:?} after a run", known.state)
                }
            }
        }
        let documents: Vec<(Uuid, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT d.id, d.content_hash, d.chunk_count FROM documents d
             WHERE d.collection_id = $1 AND d.status = 'completed'",
        )
        .bind(self.collection.id)
        .fetch_all(&self.database.sql)
        .await
        .unwrap();
        let mut wanted = Points::new();
        for (id, hash, count) in documents {
            let number = hash[0];
            assert_eq!(count, i64::from(chunks(number, self.settings)));
            wanted.extend(
                (0..chunks(number, self.settings)).map(|n| ((id, n), (number, self.settings))),
            );
        }
        assert_eq!(self.points, wanted, "the points are exactly those of the documents");
        let broken: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM documents d
                     WHERE d.collection_id = $1 AND d.status <> 'deleted'
                       AND NOT EXISTS (SELECT FROM document_locations l WHERE l.document_id = d.id))
                  + (SELECT count(*) FROM document_locations l JOIN documents d ON d.id = l.document_id
                     WHERE l.collection_id = $1
                       AND (l.content_hash <> d.content_hash OR d.status = 'deleted'))
                  + (SELECT count(*) FROM document_writes w WHERE w.collection_id = $1)",
        )
        .bind(self.collection.id)
        .fetch_one(&self.database.sql)
        .await
        .unwrap();
        assert_eq!(
            broken, 0,
            "documents without location, locations of other content, or open writes"
        );
        operation.finish(&OperationOutcome::Completed, &[]).await.unwrap();
    }

    async fn apply(&mut self, step: &Step) {
        self.clock += 1;
        let now = self.clock;
        match step {
            Step::Write { file, content } => {
                self.folder.insert(*file, (*content, now));
            }
            Step::Swap(a, b) => {
                if let (Some(one), Some(other)) =
                    (self.folder.get(a).copied(), self.folder.get(b).copied())
                {
                    self.folder.insert(*a, (other.0, now));
                    self.folder.insert(*b, (one.0, now));
                }
            }
            Step::Touch(file) => {
                if let Some((_, changed)) = self.folder.get_mut(file) {
                    *changed = now;
                }
            }
            Step::Settings(number) => self.settings = *number,
            Step::Killed(after, order) => {
                let _killed = self.run(order, StepBudget(Some(*after))).await;
            }
            Step::Run(order) => {
                assert!(
                    self.run(order, StepBudget(None)).await.is_ok(),
                    "a run without a kill succeeds"
                );
                self.check().await;
            }
        }
    }
}

#[test]
fn after_a_run_the_stores_are_as_after_a_first_run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::new());
    let mut runner =
        TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let mut number = 0;
    let number = std::cell::RefCell::new(&mut number);
    let steps = (vec(step(), 1..24), order());
    runner
        .run(&steps, |(steps, last)| {
            let name = {
                let mut number = number.borrow_mut();
                **number += 1;
                format!("case {number}")
            };
            runtime.block_on(async {
                let collection = database.collection(&name).await;
                let mut world = ModelWorld {
                    database: &database,
                    collection,
                    folder: Folder::new(),
                    points: Points::new(),
                    settings: 0,
                    clock: 0,
                };
                for step in steps.iter().chain([&Step::Run(last)]) {
                    world.apply(step).await;
                }
            });
            Ok(())
        })
        .unwrap();
}
