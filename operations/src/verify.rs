//! Compares the two stores, exactly and in both directions.
//!
//! Operations of the collection wait for a comparison, which changes nothing. `operation/repair.rs`
//! repairs the differences.
//!
//! The files of embedded vectors are compared with the checksums of their last close before they
//! are opened; then each point is compared with its own checksum. Vectors that have damaged files
//! or cannot be opened are not repaired but rebuilt as a new generation.

use std::collections::{HashMap, HashSet};

use metadata::{DocumentStatus, Generation, Integrity, Postgres, WaitPolicy};
use pipeline::{BoxError, InspectedPoint, Remedy, StoreError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vectors::DamagedFile;

use crate::context::Context;
use crate::operator::Operator;
use crate::stores::{GenerationVectors, IfMissing};

/// Documents per query to the metadata store.
const DOCUMENTS_PER_PAGE: usize = 10_000;

/// Points per page of a scan, each with its whole content.
const POINTS_PER_PAGE: usize = 1_000;

/// Wrong points of one document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DocumentFault {
    /// Id of the document; it may be unknown to the metadata store.
    pub document: Uuid,
    /// Its last path; `None` if the document is unknown.
    pub path: Option<String>,
    /// The number of points.
    pub points: u64,
}

/// The result of a comparison.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct VerifyReport {
    /// The number of the compared generation.
    pub generation: i32,
    /// Points in the vector store.
    pub points: u64,
    /// Documents with fewer points than chunks, or with points under wrong ids.
    pub missing: Vec<DocumentFault>,
    /// Documents with points beyond their chunks.
    pub surplus: Vec<DocumentFault>,
    /// Documents that are deleted or set aside and have points.
    pub deleted: Vec<DocumentFault>,
    /// Documents that have points and are missing in the metadata.
    pub unknown: Vec<DocumentFault>,
    /// Documents with points whose content differs from what was written.
    pub damaged: Vec<DocumentFault>,
    /// Unreadable points that belong to no known document.
    pub unreadable: u64,
    /// Files of embedded vectors that have changed since they were closed.
    pub files: Vec<DamagedFile>,
    /// The reason for which the vectors cannot be opened or read; no point is compared then.
    pub unusable: Option<String>,
    /// Number of documents that were not compared, because an operation was changing them; `None`
    /// if no operation worked on the collection. With a number, files of the vectors and the
    /// metadata itself were not checked.
    pub in_progress: Option<u64>,
    /// Contradictions within the metadata.
    pub integrity: Integrity,
}

impl VerifyReport {
    /// `true` if both stores agree.
    pub fn is_consistent(&self) -> bool {
        self.faults().all(|(_, troubles)| troubles.is_empty())
            && !self.needs_rebuild()
            && self.integrity.is_consistent()
    }

    /// `true` if rewriting documents cannot repair the vectors.
    pub fn needs_rebuild(&self) -> bool {
        !self.files.is_empty() || self.unusable.is_some() || self.unreadable > 0
    }

    /// Removes the findings that a running operation explains: those about `changing` documents,
    /// and about deleted ones, whose points it is removing.
    fn leave_out(&mut self, changing: &HashSet<Uuid>) {
        for faults in [&mut self.missing, &mut self.surplus, &mut self.unknown, &mut self.damaged] {
            faults.retain(|fault| !changing.contains(&fault.document));
        }
        self.deleted.clear();
        let Integrity { documents, chunks, bytes, .. } = self.integrity;
        self.integrity = Integrity {
            documents,
            chunks,
            bytes,
            // The counts of the collection are those at the end of the last operation.
            noted: vec![documents, chunks, bytes],
            ..Integrity::default()
        };
        self.in_progress = Some(changing.len() as u64);
    }

    /// The number of documents by kind of wrong points, for `operation_metrics`.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
    pub(crate) fn as_metrics(&self) -> Vec<(String, f64)> {
        self.faults()
            .map(|(kind, troubles)| (format!("documents_{kind}"), troubles.len() as f64))
            .collect()
    }

    /// The documents with wrong points, by kind.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, &[DocumentFault])> {
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

/// The points of one document.
#[derive(Clone, Copy, Default)]
struct PointCounts {
    /// Points of its chunks, under the right ids.
    expected: u64,
    /// Points of its chunks under other ids.
    misplaced: u64,
    /// Points beyond its chunks.
    surplus: u64,
    /// Points whose content differs from what was written.
    damaged: u64,
}

impl Operator {
    /// As [`Operator::verify`], for the process that executes the operations of the collection:
    /// while one works, and this operator does not wait for it, the documents that it changes are
    /// left out.
    ///
    /// # Errors
    /// If a store cannot be reached, or another process writes to embedded vectors.
    pub async fn verify_beside_operation(&self) -> Result<VerifyReport, BoxError> {
        let collection = self.collection().await?;
        let is_idle = self.context.postgres().ensure_idle(&collection).await.is_ok();
        if is_idle || self.wait == WaitPolicy::Wait {
            let compared = self.verify().await;
            // A cancelled operation holds its lock until it has stopped.
            if self.wait == WaitPolicy::Wait || !compared.as_ref().is_err_and(is_conflict) {
                return compared;
            }
        }
        verify_settled(&self.context).await
    }
}

/// `true` if another process works on the collection.
fn is_conflict(error: &BoxError) -> bool {
    let error = error.downcast_ref::<StoreError>();
    error.is_some_and(|error| error.remedy == Remedy::Conflict)
}

/// Attempts to compare one generation while operations may replace it.
const MAX_ATTEMPTS: usize = 3;

/// Compares the stores while an operation works on the collection, without the documents that it
/// changes. The process of the operation calls it, because embedded vectors that are being written
/// are open in no other one.
async fn verify_settled(context: &Context) -> Result<VerifyReport, BoxError> {
    let collection = context.database.collection(&context.spec).await?.id;
    let postgres = context.postgres();
    let (documents, generations) = (postgres.documents(), postgres.generations());
    let mut attempt = 1;
    loop {
        let mut changing = documents.writes_in_progress(collection).await?;
        let (live, vectors) = context.open_live(collection, IfMissing::Refuse).await?;
        let compared = compare(postgres, collection, &live, &vectors).await;
        drop(vectors);
        if attempt < MAX_ATTEMPTS && generations.live(collection).await?.id != live.id {
            attempt += 1;
            continue;
        }
        let (mut findings, before, _) = compared?;
        // A document that was identified and committed in between has another number of points, or
        // the same points with another content.
        let after = documents.point_counts(collection).await?;
        changing.extend(documents.writes_in_progress(collection).await?);
        let ids = before.keys().chain(after.keys());
        changing.extend(ids.filter(|id| before.get(id) != after.get(id)));
        findings.leave_out(&changing);
        return Ok(findings);
    }
}

/// Compares the stores under an exclusive lock.
pub(crate) async fn verify(context: &Context, wait: WaitPolicy) -> Result<VerifyReport, BoxError> {
    let collection = context.database.collection(&context.spec).await?;
    let postgres = context.postgres();
    let _lock = postgres.lock_exclusive(&collection, wait).await?;
    let live = postgres.generations().live(collection.id).await?;
    let files = GenerationVectors::damaged_files(&context.spec, &live.vector_store_name).await?;
    // Reading damaged files may take arbitrarily long and give arbitrary results.
    let compared = if files.is_empty() {
        match context.open_live(collection.id, IfMissing::Refuse).await {
            Ok((live, vectors)) => compare(postgres, collection.id, &live, &vectors).await,
            Err(error) => Err(error),
        }
    } else {
        Err("the files of the vectors are damaged".into())
    };
    match compared {
        Ok((findings, _, _)) => Ok(findings),
        Err(error) if !files.is_empty() || is_damage_error(error.as_ref()) => Ok(VerifyReport {
            generation: live.number,
            unusable: files.is_empty().then(|| pipeline::error_chain(error.as_ref())),
            files,
            integrity: postgres.documents().integrity(collection.id).await?,
            ..VerifyReport::default()
        }),
        Err(error) => Err(error),
    }
}

/// Compares the stores. Returns the findings, the expected number of points of each document,
/// and the documents with damaged points or with points under other ids.
pub(crate) async fn compare(
    postgres: &Postgres,
    collection: Uuid,
    live: &Generation,
    vectors: &GenerationVectors,
) -> Result<(VerifyReport, HashMap<Uuid, u64>, Vec<Uuid>), BoxError> {
    let expected = postgres.documents().point_counts(collection).await?;
    let (held, unreadable) = count_points(vectors, &expected).await?;
    let mut findings = VerifyReport {
        generation: live.number,
        points: vectors.store.count().await?,
        integrity: postgres.documents().integrity(collection).await?,
        unreadable,
        ..VerifyReport::default()
    };
    let mut strays = Vec::new();
    for (&document, held) in &held {
        let fault = |points| DocumentFault { document, path: None, points };
        if !expected.contains_key(&document) {
            strays.push(fault(held.surplus));
        } else if held.surplus > 0 {
            findings.surplus.push(fault(held.surplus));
        }
    }
    for (&document, &chunks) in &expected {
        let held = held.get(&document).copied().unwrap_or_default();
        if held.damaged > 0 {
            let points = held.damaged;
            findings.damaged.push(DocumentFault { document, path: None, points });
        } else if held.expected < chunks || held.misplaced > 0 {
            let points = (chunks - held.expected).max(held.misplaced);
            findings.missing.push(DocumentFault { document, path: None, points });
        }
    }
    name_documents(postgres, collection, strays, &mut findings).await?;
    let foreign = held.iter().filter(|(_, held)| held.misplaced + held.damaged > 0);
    let foreign = foreign.map(|(id, _)| *id).collect();
    Ok((findings, expected, foreign))
}

/// Adds the paths of documents, and separates points of deleted documents from those of unknown
/// ones.
async fn name_documents(
    postgres: &Postgres,
    collection: Uuid,
    strays: Vec<DocumentFault>,
    findings: &mut VerifyReport,
) -> Result<(), BoxError> {
    let all = findings.missing.iter().chain(&findings.surplus).chain(&findings.damaged);
    let all = all.chain(&strays);
    let ids: Vec<Uuid> = all.map(|it| it.document).collect::<HashSet<_>>().into_iter().collect();
    let mut names: HashMap<Uuid, (String, DocumentStatus)> = HashMap::new();
    for some in ids.chunks(DOCUMENTS_PER_PAGE) {
        names.extend(postgres.documents().names_and_statuses(collection, some).await?);
    }
    for stray in strays {
        let is_known = names.contains_key(&stray.document);
        if is_known { findings.deleted.push(stray) } else { findings.unknown.push(stray) }
    }
    for faults in
        [&mut findings.missing, &mut findings.surplus, &mut findings.damaged, &mut findings.deleted]
    {
        for fault in faults.iter_mut() {
            fault.path = names.get(&fault.document).map(|(path, _)| path.clone());
        }
    }
    for faults in [
        &mut findings.missing,
        &mut findings.surplus,
        &mut findings.damaged,
        &mut findings.deleted,
        &mut findings.unknown,
    ] {
        faults.sort_by(|a, b| (&a.path, a.document).cmp(&(&b.path, b.document)));
    }
    Ok(())
}

/// The points of each document, and the number of unreadable points that belong to none.
async fn count_points(
    vectors: &GenerationVectors,
    expected: &HashMap<Uuid, u64>,
) -> Result<(HashMap<Uuid, PointCounts>, u64), BoxError> {
    let mut held: HashMap<Uuid, PointCounts> = HashMap::new();
    let mut nameless: HashSet<Uuid> = HashSet::new();
    let mut page: Vec<InspectedPoint> = vectors.store.inspect(None, POINTS_PER_PAGE).await?;
    while let Some(last) = page.last().map(|it| it.id) {
        for InspectedPoint { id, key, fault } in page {
            let Some(key) = key else {
                nameless.insert(id);
                continue;
            };
            let chunks = expected.get(&key.document).copied().unwrap_or(0);
            let held = held.entry(key.document).or_default();
            if u64::from(key.chunk_index) >= chunks {
                held.surplus += 1;
            } else if !key.has_derived_id() {
                held.misplaced += 1;
            } else if let Some(fault) = fault {
                tracing::warn!(point = %id, document = %key.document, "damaged point: {fault}");
                held.damaged += 1;
            } else {
                held.expected += 1;
            }
        }
        page = vectors.store.inspect(Some(last), POINTS_PER_PAGE).await?;
    }
    if !nameless.is_empty() {
        // The ids that the chunks of documents must have tell whose these points are.
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

/// `true` if the vectors themselves cannot be opened or read, and no other process or store is the
/// cause.
fn is_damage_error(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(vectors::is_damage_error)
}
