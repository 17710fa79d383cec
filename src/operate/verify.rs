//! Compares the two stores, in both directions and exactly, and makes good what differs.
//!
//! Operations are kept away meanwhile. A comparison changes nothing; a repair is an operation, which takes out
//! what should not be there and marks what is not whole, and then a run, which writes that again.
//!
//! Of embedded vectors the files are compared with the checksums that were recorded when they were closed, before they
//! are opened; then each point with the checksum in it. Vectors whose files are damaged, or that cannot be opened, are
//! not repaired but built anew, as a new generation.

use std::collections::{HashMap, HashSet};

use metadata::{Collection, DocumentStatus, Generation, Integrity, Operation, OperationType, Side};
use pipeline::BoxError;
use pipeline::Inspected;
use uuid::Uuid;
use vectors::DamagedFile;

use super::{Errand, Operator, finish, pass};
use crate::wiring::{Absent, Vectors};

/// Documents that are asked for at once.
const PAGE: usize = 10_000;

/// Points that are read at once, with all that they hold.
const POINTS: usize = 1_000;

/// What is wrong with the points of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) document: Uuid,
    /// Where it was when it was last written; unknown of a document that is.
    pub(crate) path: Option<String>,
    /// How many points.
    pub(crate) points: u64,
}

/// What a comparison has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The generation that was compared.
    pub(crate) generation: i32,
    /// Points in the vector store.
    pub(crate) points: u64,
    /// Documents with fewer points than chunks, or with points under other ids than theirs.
    pub(crate) missing: Vec<Trouble>,
    /// Documents with points beyond their chunks.
    pub(crate) surplus: Vec<Trouble>,
    /// Documents that are deleted or set aside, and have points.
    pub(crate) deleted: Vec<Trouble>,
    /// Documents that the metadata does not know, and that have points.
    pub(crate) unknown: Vec<Trouble>,
    /// Documents with points that do not hold what was written.
    pub(crate) damaged: Vec<Trouble>,
    /// Points that cannot be read, and that are of no document that is known.
    pub(crate) unreadable: u64,
    /// Files of embedded vectors that are not as they were when they were closed.
    pub(crate) files: Vec<DamagedFile>,
    /// Why the vectors cannot be opened or read. Nothing is known of the points then.
    pub(crate) unusable: Option<String>,
    /// What the metadata says of itself.
    pub(crate) integrity: Integrity,
}

impl Findings {
    /// Whether both stores agree.
    pub(crate) fn is_consistent(&self) -> bool {
        self.troubles().all(|(_, troubles)| troubles.is_empty())
            && !self.must_be_built_anew()
            && self.integrity.is_whole()
    }

    /// Whether the vectors are damaged in a way that writing documents again does not put right.
    pub(crate) fn must_be_built_anew(&self) -> bool {
        !self.files.is_empty() || self.unusable.is_some() || self.unreadable > 0
    }

    /// What a repair has found, as `operation_metrics` has it: documents by what was wrong with their points.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
    fn as_metrics(&self) -> Vec<(String, f64)> {
        self.troubles()
            .map(|(kind, troubles)| (format!("documents_{kind}"), troubles.len() as f64))
            .collect()
    }

    /// What is wrong with points, by kind.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = (&'static str, &[Trouble])> {
        [
            ("missing", &*self.missing),
            ("surplus", &*self.surplus),
            ("of_deleted_documents", &*self.deleted),
            ("of_unknown_documents", &*self.unknown),
            ("damaged", &*self.damaged),
        ]
        .into_iter()
    }
}

/// What the store holds of one document.
#[derive(Clone, Copy, Default)]
struct Held {
    /// Points of its chunks, under their own ids.
    right: u64,
    /// Points of its chunks under other ids.
    foreign: u64,
    /// Points beyond its chunks.
    surplus: u64,
    /// Points that do not hold what was written.
    damaged: u64,
}

impl Operator {
    /// Compares the stores while nobody writes to them.
    pub(crate) async fn verify(&self) -> Result<Findings, BoxError> {
        let collection = self.database.collection(&self.spec).await?;
        let _still = self.database.postgres().keep_still(&collection, self.turn()).await?;
        let live = self.database.postgres().generations().live(collection.id).await?;
        let files = Vectors::damage(&self.spec, &live.vector_store_name).await?;
        // Reading files that are damaged may take any time, or find anything.
        let compared = if files.is_empty() {
            match self.live(&collection, Absent::Refuse).await {
                Ok((live, vectors)) => self.compare(&collection, &live, &vectors).await,
                Err(error) => Err(error),
            }
        } else {
            Err("its files are damaged".into())
        };
        match compared {
            Ok((findings, _, _)) => Ok(findings),
            Err(error) if !files.is_empty() || is_of_damage(error.as_ref()) => Ok(Findings {
                generation: live.number,
                unusable: files.is_empty().then(|| pipeline::chain(error.as_ref())),
                files,
                integrity: self.database.postgres().documents().integrity(collection.id).await?,
                ..Findings::default()
            }),
            Err(error) => Err(error),
        }
    }

    /// Builds the vectors anew, as a new generation: from the sources, and from what was computed before.
    pub(crate) async fn rebuild(&mut self) -> Result<(), BoxError> {
        self.wish.anew = true;
        self.run().await?;
        Ok(())
    }

    /// Takes out what should not be there, and has what is not whole written again. Both operations are handed over
    /// where another process serves the collection, since it may have the embedded vectors open.
    pub(crate) async fn repair(&self) -> Result<(), BoxError> {
        if self.elsewhere(&Errand::Repair).await?.is_none() {
            self.remove_wrong_points().await?;
        }
        self.run().await?;
        Ok(())
    }

    /// Removes points that should not be there, and marks documents whose points are missing or damaged, so that the
    /// next run writes them again.
    pub(super) async fn remove_wrong_points(&self) -> Result<(), BoxError> {
        let collection = self.database.collection(&self.spec).await?;
        let details = Errand::Repair.details();
        let operation = self.claim(&collection, OperationType::Append, details).await?;
        let ended = self
            .while_ours(&operation, async {
                operation.delete_placeless().await?;
                let (live, vectors) = self.live(&collection, Absent::Refuse).await?;
                let removed = self.remove_wrong(&operation, &collection, &live, &vectors).await;
                // After a failure, too: a server keeps the vectors open.
                vectors.end_writing().await;
                Ok(removed?.as_metrics())
            })
            .await;
        let metrics = ended.as_ref().map_or_else(|_| Vec::new(), Clone::clone);
        finish(operation, ended, &metrics).await?;
        Ok(())
    }

    async fn remove_wrong(
        &self,
        operation: &Operation,
        collection: &Collection,
        live: &Generation,
        vectors: &Vectors,
    ) -> Result<Findings, BoxError> {
        let metadata = operation.metadata(Side::Live, self.settings.fingerprint);
        pass::purge(&metadata, vectors.store.as_ref()).await?;
        let (findings, expected, foreign) = self.compare(collection, live, vectors).await?;
        sinks::remove_strays(vectors.store.as_ref(), &expected).await?;
        for trouble in &findings.surplus {
            // Also where points are missing, so that the number alone does not tell.
            let chunks = expected.get(&trouble.document).copied().unwrap_or(0);
            vectors.store.truncate(trouble.document, u32::try_from(chunks)?).await?;
        }
        let stale = findings.missing.iter().chain(&findings.damaged);
        let stale: Vec<_> = stale.map(|it| it.document).collect();
        // First of all, so that whatever comes between is made good by the next run.
        operation.mark_stale(&stale).await?;
        // Points under other ids would stay; those under their own are written over.
        vectors.store.remove(&foreign).await?;
        vectors.store.flush().await?;
        Ok(findings)
    }

    /// Compares the stores; gives what is wrong, how many points each document is to have, and the documents that
    /// have points under other ids than their chunks'.
    async fn compare(
        &self,
        collection: &Collection,
        live: &Generation,
        vectors: &Vectors,
    ) -> Result<(Findings, HashMap<Uuid, u64>, Vec<Uuid>), BoxError> {
        let postgres = self.database.postgres();
        let expected = postgres.documents().with_points(collection.id).await?;
        let (held, unreadable) = held(vectors, &expected).await?;
        let mut findings = Findings {
            generation: live.number,
            points: vectors.store.count().await?,
            integrity: postgres.documents().integrity(collection.id).await?,
            unreadable,
            ..Findings::default()
        };
        let mut strays = Vec::new();
        for (&document, held) in &held {
            let trouble = |points| Trouble { document, path: None, points };
            if !expected.contains_key(&document) {
                strays.push(trouble(held.surplus));
            } else if held.surplus > 0 {
                findings.surplus.push(trouble(held.surplus));
            }
        }
        for (&document, &chunks) in &expected {
            let held = held.get(&document).copied().unwrap_or_default();
            if held.damaged > 0 {
                let points = held.damaged;
                findings.damaged.push(Trouble { document, path: None, points });
            } else if held.right < chunks || held.foreign > 0 {
                let points = (chunks - held.right).max(held.foreign);
                findings.missing.push(Trouble { document, path: None, points });
            }
        }
        self.name(collection, strays, &mut findings).await?;
        let foreign = held.iter().filter(|(_, held)| held.foreign + held.damaged > 0);
        let foreign = foreign.map(|(id, _)| *id).collect();
        Ok((findings, expected, foreign))
    }

    /// Says which documents are meant, and which of those with strays were deleted.
    async fn name(
        &self,
        collection: &Collection,
        strays: Vec<Trouble>,
        findings: &mut Findings,
    ) -> Result<(), BoxError> {
        let all = findings.missing.iter().chain(&findings.surplus).chain(&findings.damaged);
        let all = all.chain(&strays);
        let ids: Vec<Uuid> =
            all.map(|it| it.document).collect::<HashSet<_>>().into_iter().collect();
        let mut names: HashMap<Uuid, (String, DocumentStatus)> = HashMap::new();
        for some in ids.chunks(PAGE) {
            names.extend(self.database.postgres().documents().names(collection.id, some).await?);
        }
        for stray in strays {
            let is_known = names.contains_key(&stray.document);
            if is_known { findings.deleted.push(stray) } else { findings.unknown.push(stray) }
        }
        for troubles in [
            &mut findings.missing,
            &mut findings.surplus,
            &mut findings.damaged,
            &mut findings.deleted,
        ] {
            for trouble in troubles.iter_mut() {
                trouble.path = names.get(&trouble.document).map(|(path, _)| path.clone());
            }
        }
        for troubles in [
            &mut findings.missing,
            &mut findings.surplus,
            &mut findings.damaged,
            &mut findings.deleted,
            &mut findings.unknown,
        ] {
            troubles.sort_by(|a, b| (&a.path, a.document).cmp(&(&b.path, b.document)));
        }
        Ok(())
    }
}

/// What the store holds of each document, and how many points cannot be read that are of none.
async fn held(
    vectors: &Vectors,
    expected: &HashMap<Uuid, u64>,
) -> Result<(HashMap<Uuid, Held>, u64), BoxError> {
    let mut held: HashMap<Uuid, Held> = HashMap::new();
    let mut nameless: HashSet<Uuid> = HashSet::new();
    let mut page: Vec<Inspected> = vectors.store.inspect(None, POINTS).await?;
    while let Some(last) = page.last().map(|it| it.id) {
        for Inspected { id, key, fault } in page {
            let Some(key) = key else {
                nameless.insert(id);
                continue;
            };
            let chunks = expected.get(&key.document).copied().unwrap_or(0);
            let held = held.entry(key.document).or_default();
            if u64::from(key.chunk_index) >= chunks {
                held.surplus += 1;
            } else if !key.is_its_own() {
                held.foreign += 1;
            } else if let Some(fault) = fault {
                tracing::warn!(point = %id, document = %key.document, "a point is damaged: {fault}");
                held.damaged += 1;
            } else {
                held.right += 1;
            }
        }
        page = vectors.store.inspect(Some(last), POINTS).await?;
    }
    if !nameless.is_empty() {
        // Whose they are is known of the ids that chunks must have.
        for (&document, &chunks) in expected {
            let ids = (0..u32::try_from(chunks)?).map(|index| pipeline::point_id(document, index));
            let found = ids.filter(|id| nameless.remove(id)).count() as u64;
            if found > 0 {
                held.entry(document).or_default().damaged += found;
            }
        }
    }
    Ok((held, nameless.len() as u64))
}

/// Whether it is the vectors themselves that could not be opened or read, and no other process or store.
fn is_of_damage(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<pipeline::StoreError>().is_some_and(vectors::is_of_damage)
}
