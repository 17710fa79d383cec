//! Brings the stores up to date with the sources: passes over them, then deletes missing documents.
//! Names no store: the tests run it in memory.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use pipeline::{
    BoxError, Lifecycle, MissingDocuments, RunReport, SparseEncoder, VectorStore, Vectors,
};

use crate::relocation::relocate;
use crate::text;

/// Documents per transaction in which points are removed and locations deleted.
const BATCH_SIZE: u32 = 1_000;

/// A copy of the previous content of an edited file may be seen before the edit is stored, and
/// needs another pass; so may its own copy. Only a source that changes faster than it is read needs
/// more passes.
const MAX_PASSES: usize = 4;

/// More documents of a source are missing than may be deleted without `--allow-deletes`.
#[derive(Debug, thiserror::Error)]
#[error(
    "{documents} of {of} documents of {source_uri} are missing{sign}; nothing was deleted, and \
     new and changed documents were stored; to delete the missing ones, run again with \
     --allow-deletes"
)]
pub(crate) struct TooManyDeletions {
    documents: i64,
    of: i64,
    source_uri: String,
    /// A further reason, such as an unmounted file system, or empty.
    sign: &'static str,
}

/// A source provides no document and never has: the path or the globs are wrong, or it is not
/// filled yet. A source that provided documents before is covered by [`TooManyDeletions`].
#[derive(Debug, thiserror::Error)]
#[error(
    "no file in {source_uri} matches, and it has never provided a document ({because}); correct \
     `paths`, `include`, `exclude` or `hidden` of the scan node (documents of other sources were \
     stored)"
)]
pub(crate) struct EmptySource {
    source_uri: String,
    because: String,
}

impl EmptySource {
    /// The error for the first source that has never provided a document.
    pub(crate) fn first_of(unknown: Vec<String>, left_out: &BTreeMap<String, u64>) -> Option<Self> {
        let source_uri = unknown.into_iter().next()?;
        let because = match text::left_out_summary(left_out) {
            None => "it contains no file".to_owned(),
            Some(left_out) => format!("left out: {left_out}"),
        };
        Some(Self { source_uri, because })
    }
}

/// The deletions that a run may make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeletionLimit {
    /// `true` if it deletes missing documents whatever their number.
    pub(crate) is_lifted: bool,
    /// Largest share of the documents of a source.
    pub(crate) max_ratio: f64,
}

/// Brings the stores up to date with the sources: passes over them with `pass`, then deletes
/// missing documents and updates the points of moved ones. `sparse_encoder` is that of the vectors.
pub(crate) async fn sync(
    metadata: &dyn Lifecycle,
    vectors: &dyn Vectors,
    sparse_encoder: Option<&dyn SparseEncoder>,
    limit: DeletionLimit,
    mut pass: impl AsyncFnMut() -> Result<RunReport, BoxError>,
) -> Result<RunReport, BoxError> {
    metadata.recover().await?;
    purge(metadata, vectors).await?;
    let mut report = pass().await?;
    purge(metadata, vectors).await?;
    for _ in 1..MAX_PASSES {
        if report.stopped || metadata.count_unattached().await? == 0 {
            break;
        }
        report.merge(pass().await?);
        purge(metadata, vectors).await?;
    }
    if !report.stopped {
        report.deleted = delete_missing(metadata, limit, &report.exhausted_roots).await?;
        relocate(metadata, vectors, sparse_encoder).await?;
        purge(metadata, vectors).await?;
        let unknown = metadata.unknown_sources(&report.empty_roots).await?;
        if let Some(error) = EmptySource::first_of(unknown, &report.left_out) {
            return Err(error.into());
        }
    }
    Ok(report)
}

/// Deletes the missing documents of completely listed sources and returns their number.
async fn delete_missing(
    metadata: &dyn Lifecycle,
    limit: DeletionLimit,
    covered: &[String],
) -> Result<u64, BoxError> {
    let devices = devices_of(covered);
    let missing = metadata.missing_documents(covered).await?;
    if !limit.is_lifted {
        let refused = missing.iter().find_map(|it| check_deletions(it, limit.max_ratio, &devices));
        if let Some(error) = refused {
            return Err(error.into());
        }
    }
    let mut deleted = 0;
    let mut after = Vec::new();
    while let Some(some) = metadata.forget_missing(covered, &after, BATCH_SIZE).await? {
        deleted += some.documents;
        after = some.last;
    }
    metadata.record_devices(&devices).await?;
    Ok(deleted)
}

/// Smallest number of missing documents that can stop a run.
const ALWAYS_DELETABLE: i64 = 20;

/// `true` if losing `lost` of `of` documents needs `--allow-deletes`.
pub(crate) fn exceeds_ratio(lost: i64, of: i64, ratio: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let is_much = lost as f64 > ratio * of as f64;
    lost >= ALWAYS_DELETABLE && is_much
}

/// Returns an error if a source has lost more than may be deleted without `--allow-deletes`: too
/// many documents; or all of them while its path is on another device, as if its file system were
/// not mounted.
pub(crate) fn check_deletions(
    missing: &MissingDocuments,
    ratio: f64,
    devices: &[(String, i64)],
) -> Option<TooManyDeletions> {
    let MissingDocuments { source, documents, of, device, .. } = missing;
    let now = devices.iter().find(|(uri, _)| uri == source).map(|(_, device)| *device);
    let is_unmounted = *documents > 0 && documents == of && device.is_some() && *device != now;
    let is_much = exceeds_ratio(*documents, *of, ratio);
    let sign = if is_unmounted { ", and its file system appears to be unmounted" } else { "" };
    (is_much || is_unmounted).then(|| TooManyDeletions {
        documents: *documents,
        of: *of,
        source_uri: source.clone(),
        sign,
    })
}

/// The devices of the sources.
pub(crate) fn devices_of(covered: &[String]) -> Vec<(String, i64)> {
    covered.iter().filter_map(|uri| Some((uri.clone(), device_of(uri)?))).collect()
}

/// The device of a folder or file.
fn device_of(uri: &str) -> Option<i64> {
    let path = pipeline::uri::to_path(uri)?;
    Some(fs_err::metadata(path).ok()?.dev().cast_signed())
}

/// Removes points without a document, including those left by a killed run.
pub(crate) async fn purge(metadata: &dyn Lifecycle, vectors: &dyn Vectors) -> Result<(), BoxError> {
    loop {
        let documents = metadata.unpurged(BATCH_SIZE).await?;
        if documents.is_empty() {
            return Ok(());
        }
        sinks::purge(metadata, vectors as &dyn VectorStore, &documents).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use metadata::MemoryMetadata;
    use pipeline::{
        ContentHash, IncomingDocument, Location, MetadataStore as _, Passage, Point, RejectReason,
        Rejection, SparseEncoder, StoredDocument, VectorIndex as _, point_id,
    };
    use uuid::Uuid;
    use vectors::{MemoryVectors, contract};

    use super::*;

    const LIMIT: DeletionLimit = DeletionLimit { is_lifted: false, max_ratio: 0.5 };

    /// A folder of numbered files, the stores of its collection, and passes over it.
    struct World {
        metadata: MemoryMetadata,
        vectors: MemoryVectors,
        sparse_encoder: Arc<dyn SparseEncoder>,
        source: String,
    }

    impl World {
        fn new(folder: &Path) -> Self {
            Self {
                metadata: MemoryMetadata::new(Uuid::from_u128(1)),
                vectors: MemoryVectors::with_sparse(contract::DIM),
                sparse_encoder: stages::default_sparse_encoder(),
                source: format!("file://{}", folder.display()),
            }
        }

        fn uri(&self, name: &str) -> String {
            format!("{}/{name}", self.source)
        }

        /// A run over files with these names and contents. Contents that are known at its start are
        /// duplicates.
        async fn run(
            &self,
            files: &[(&str, u8)],
            limit: DeletionLimit,
        ) -> Result<RunReport, BoxError> {
            self.metadata.begin_pass();
            let encoder = Some(&*self.sparse_encoder);
            sync(&self.metadata, &self.vectors, encoder, limit, async || {
                let known = self.metadata.known_hashes().await?;
                for (name, content) in files {
                    let location = Location {
                        uri: self.uri(name),
                        source: self.source.clone(),
                        size: 1,
                        mtime: Some(1),
                        ctime: None,
                        inode: None,
                    };
                    let content_hash = ContentHash([*content; 32]);
                    if known.contains(&content_hash) {
                        let reason = RejectReason::Duplicate;
                        let content_hash = Some(content_hash);
                        let rejection = Rejection { location, content_hash, reason };
                        let rejections = [("dedup".to_owned(), rejection)];
                        self.metadata.record_rejections(&rejections).await?;
                    } else {
                        self.store(IncomingDocument { location, content_hash }).await?;
                    }
                }
                let roots = vec![self.source.clone()];
                let empty_roots = if files.is_empty() { roots.clone() } else { Vec::new() };
                Ok(RunReport { exhausted_roots: roots, empty_roots, ..RunReport::default() })
            })
            .await
        }

        async fn store(&self, incoming: IncomingDocument) -> Result<(), BoxError> {
            let ids = self.metadata.assign_ids(std::slice::from_ref(&incoming)).await?;
            let document = ids[0].document;
            let mut point = contract::point(1, 0, u64::from(incoming.content_hash.0[0]));
            point.id = point_id(document, 0);
            point.payload.document = document;
            point.payload.uri.clone_from(&incoming.location.uri);
            point.payload.source.clone_from(&incoming.location.source);
            point.sparse = Some(self.encode(&point));
            self.vectors.upsert(vec![point]).await?;
            let stored = StoredDocument {
                incoming,
                document,
                mime_type: "text/plain".to_owned(),
                title: None,
                language: None,
                metadata: serde_json::json!({}),
                chunks: 1,
                digest: [0; 32],
            };
            self.metadata.commit(&[stored]).await?;
            Ok(())
        }

        fn encode(&self, point: &Point) -> pipeline::SparseVector {
            self.sparse_encoder.encode_document(&Passage::of_payload(&point.payload))
        }

        /// The URIs in the points, sorted.
        async fn uris(&self) -> Vec<String> {
            let points = self.vectors.scroll(None, 1_000).await.unwrap();
            let mut uris: Vec<_> = points.into_iter().map(|point| point.payload.uri).collect();
            uris.sort();
            uris
        }
    }

    #[tokio::test]
    async fn a_missing_file_loses_its_points_and_a_renamed_one_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(folder.path());
        world.run(&[("a", 1), ("b", 2), ("c", 3)], LIMIT).await.unwrap();
        assert_eq!(world.uris().await, ["a", "b", "c"].map(|name| world.uri(name)));
        let report = world.run(&[("a", 1), ("renamed", 3)], LIMIT).await.unwrap();
        assert_eq!(report.deleted, 1);
        assert_eq!(world.uris().await, ["a", "renamed"].map(|name| world.uri(name)));
    }

    #[tokio::test]
    async fn the_sparse_vector_of_a_renamed_file_has_the_words_of_its_new_path() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(folder.path());
        world.run(&[("locks/old.txt", 1), ("b", 2)], LIMIT).await.unwrap();
        let points = async || {
            let points = world.vectors.scroll(None, 10).await.unwrap();
            let ids: Vec<Uuid> = points.iter().map(|point| point.id).collect();
            (points, ids)
        };
        let (before, ids) = points().await;
        world.run(&[("locks/new.txt", 1), ("b", 2)], LIMIT).await.unwrap();
        let (after, same_ids) = points().await;
        assert_eq!(ids, same_ids);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.vector, after.vector);
            assert_eq!(after.sparse.as_ref(), Some(&world.encode(after)));
            let moved = before.payload.uri != after.payload.uri;
            assert_eq!(before.sparse != after.sparse, moved, "{}", after.payload.uri);
        }
    }

    #[tokio::test]
    async fn a_copy_of_edited_content_gets_another_pass() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(folder.path());
        world.run(&[("a", 1)], LIMIT).await.unwrap();
        // The content of `copy` is known when the run begins, and gone once `a` is stored.
        world.run(&[("a", 2), ("copy", 1)], LIMIT).await.unwrap();
        assert_eq!(world.uris().await, ["a", "copy"].map(|name| world.uri(name)));
    }

    #[tokio::test]
    async fn too_many_deletions_delete_nothing_unless_they_are_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(folder.path());
        let names: Vec<String> = (0..30).map(|number| format!("file {number}")).collect();
        let files: Vec<_> = names.iter().map(String::as_str).zip(1_u8..).collect();
        world.run(&files, LIMIT).await.unwrap();
        let error = world.run(&files[..5], LIMIT).await.unwrap_err();
        assert!(error.is::<TooManyDeletions>(), "{error}");
        assert_eq!(world.uris().await.len(), 30);
        let lifted = DeletionLimit { is_lifted: true, ..LIMIT };
        assert_eq!(world.run(&files[..5], lifted).await.unwrap().deleted, 25);
        assert_eq!(world.uris().await.len(), 5);
    }

    #[tokio::test]
    async fn a_source_that_never_provided_a_document_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(folder.path());
        let error = world.run(&[], LIMIT).await.unwrap_err();
        assert!(error.is::<EmptySource>(), "{error}");
        world.run(&[("a", 1)], LIMIT).await.unwrap();
        assert_eq!(world.run(&[], LIMIT).await.unwrap().deleted, 1, "it provided one before");
    }
}
