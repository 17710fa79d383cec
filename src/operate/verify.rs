//! Compares the two stores, in both directions and exactly, and makes good what differs.
//!
//! Operations are kept away meanwhile. A comparison changes nothing; a repair is an operation, which takes out
//! what should not be there and marks what is not whole, and then a run, which writes that again.

use std::collections::{HashMap, HashSet};

use pipeline::BoxError;
use sinks::{Collection, DocumentStatus, Generation, Integrity, OperationType, PointKey, Side};
use uuid::Uuid;

use super::{Errand, Operator, finish, pass};
use crate::wiring::{Absent, Vectors};

/// Points that are asked for at once.
const PAGE: usize = 10_000;

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
    /// What the metadata says of itself.
    pub(crate) integrity: Integrity,
}

impl Findings {
    /// Whether both stores agree.
    pub(crate) fn is_consistent(&self) -> bool {
        self.troubles().all(|(_, troubles)| troubles.is_empty()) && self.integrity.is_whole()
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
}

impl Operator {
    /// Compares the stores while nobody writes to them.
    pub(crate) async fn verify(&self) -> Result<Findings, BoxError> {
        let collection = self.database.collection(&self.spec).await?;
        let _still = self.database.postgres().keep_still(&collection, self.turn()).await?;
        let (live, vectors) = self.live(&collection, Absent::Refuse).await?;
        Ok(self.compare(&collection, &live, &vectors).await?.0)
    }

    /// Takes out what should not be there, and has what is not whole written again.
    pub(crate) async fn repair(&self) -> Result<(), BoxError> {
        let collection = self.database.collection(&self.spec).await?;
        let details = Errand::Repair.details();
        let operation = self.claim(&collection, OperationType::Append, details).await?;
        let ended = self
            .while_ours(&operation, async {
                operation.delete_placeless().await?;
                let (live, vectors) = self.live(&collection, Absent::Refuse).await?;
                let metadata = operation.metadata(Side::Live, self.settings.fingerprint);
                pass::purge(&metadata, vectors.store.as_ref()).await?;
                let (findings, expected, foreign) =
                    self.compare(&collection, &live, &vectors).await?;
                sinks::remove_strays(vectors.store.as_ref(), &expected).await?;
                for trouble in &findings.surplus {
                    // Also where points are missing, so that the number alone does not tell.
                    let chunks = expected.get(&trouble.document).copied().unwrap_or(0);
                    vectors.store.truncate(trouble.document, u32::try_from(chunks)?).await?;
                }
                let stale: Vec<_> = findings.missing.iter().map(|it| it.document).collect();
                // First of all, so that whatever comes between is made good by the next run.
                operation.mark_stale(&stale).await?;
                // Points under other ids would stay; those under their own are written over.
                vectors.store.remove(&foreign).await?;
                vectors.store.flush().await?;
                Ok(findings.as_metrics())
            })
            .await;
        let metrics = ended.as_ref().map_or_else(|_| Vec::new(), Clone::clone);
        finish(operation, ended, &metrics).await?;
        self.run().await?;
        Ok(())
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
        let held = held(vectors, &expected).await?;
        let mut findings = Findings {
            generation: live.number,
            points: vectors.store.count().await?,
            integrity: postgres.documents().integrity(collection.id).await?,
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
            if held.right < chunks || held.foreign > 0 {
                let points = (chunks - held.right).max(held.foreign);
                findings.missing.push(Trouble { document, path: None, points });
            }
        }
        self.name(collection, strays, &mut findings).await?;
        let foreign = held.iter().filter(|(_, held)| held.foreign > 0).map(|(id, _)| *id).collect();
        Ok((findings, expected, foreign))
    }

    /// Says which documents are meant, and which of those with strays were deleted.
    async fn name(
        &self,
        collection: &Collection,
        strays: Vec<Trouble>,
        findings: &mut Findings,
    ) -> Result<(), BoxError> {
        let all = findings.missing.iter().chain(&findings.surplus).chain(&strays);
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
        for troubles in [&mut findings.missing, &mut findings.surplus, &mut findings.deleted] {
            for trouble in troubles.iter_mut() {
                trouble.path = names.get(&trouble.document).map(|(path, _)| path.clone());
            }
        }
        for troubles in [
            &mut findings.missing,
            &mut findings.surplus,
            &mut findings.deleted,
            &mut findings.unknown,
        ] {
            troubles.sort_by(|a, b| (&a.path, a.document).cmp(&(&b.path, b.document)));
        }
        Ok(())
    }
}

/// What the store holds of each document.
async fn held(
    vectors: &Vectors,
    expected: &HashMap<Uuid, u64>,
) -> Result<HashMap<Uuid, Held>, BoxError> {
    let mut held: HashMap<Uuid, Held> = HashMap::new();
    let mut page: Vec<PointKey> = vectors.store.keys(None, PAGE).await?;
    while let Some(last) = page.last().copied() {
        for key in page {
            let chunks = expected.get(&key.document).copied().unwrap_or(0);
            let held = held.entry(key.document).or_default();
            if u64::from(key.chunk_index) >= chunks {
                held.surplus += 1;
            } else if key.is_its_own() {
                held.right += 1;
            } else {
                held.foreign += 1;
            }
        }
        page = vectors.store.keys(Some(last.id), PAGE).await?;
    }
    Ok(held)
}
