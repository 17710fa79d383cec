//! Brings one generation up to date with its sources: passes over them, then deletes missing
//! documents.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use metadata::{GenerationSlot, MissingDocuments, OperationLease, Relocation, RunMetadata};
use pipeline::{
    BoxError, DocumentLocation, MetadataStore as _, Resources, RunOptions, RunReport, VectorStore,
};
use uuid::Uuid;

use crate::composition;
use crate::context::Context;
use crate::operation::Run;
use crate::stores::GenerationVectors;
use crate::text;

/// Documents per transaction in which points are removed and locations deleted.
const BATCH_SIZE: u32 = 1_000;

/// Maximum number of concurrent requests to the vector store.
const MAX_IN_FLIGHT: usize = 8;

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

/// Stores new and changed documents, and deletes missing ones.
pub(crate) async fn sync(
    run: &Run<'_>,
    slot: GenerationSlot,
    vectors: &GenerationVectors,
) -> Result<RunReport, BoxError> {
    let Run { context, lease, request } = *run;
    let fingerprint = context.settings.fingerprint;
    let mut metadata = lease.metadata(slot, fingerprint).with_current_time().await?;
    if request.retry_failed {
        metadata = metadata.with_retries();
    }
    let metadata = Arc::new(metadata);
    metadata.recover().await?;
    purge(&metadata, vectors.store.as_ref()).await?;
    context.attach_model();
    let before = context.usage();
    let mut report = pass(context, lease, &metadata, vectors).await?;
    for _ in 1..MAX_PASSES {
        if report.stopped || metadata.count_unattached().await? == 0 {
            break;
        }
        report.merge(pass(context, lease, &metadata, vectors).await?);
    }
    if !report.stopped {
        report.deleted = delete_missing(run, &metadata, &report.exhausted_roots).await?;
        relocate(&metadata, vectors).await?;
        purge(&metadata, vectors.store.as_ref()).await?;
        let unknown = metadata.unknown_sources(&report.empty_roots).await?;
        if let Some(error) = EmptySource::first_of(unknown, &report.left_out) {
            return Err(error.into());
        }
    }
    metadata.analyze().await;
    let after = context.usage();
    report.tokens = after.tokens - before.tokens;
    report.tokens_reused = after.reused_tokens - before.reused_tokens;
    Ok(report.without_roots())
}

/// One pass over the sources. Expects that nothing is left to purge.
async fn pass(
    context: &Context,
    lease: &OperationLease,
    metadata: &Arc<RunMetadata>,
    vectors: &GenerationVectors,
) -> Result<RunReport, BoxError> {
    let plan = context.plan()?;
    let with = Resources {
        collection: lease.collection(),
        models: Arc::clone(&context.models),
        metadata: Arc::clone(metadata) as _,
        vectors: Arc::clone(&vectors.store) as _,
        known_hashes: Arc::new(metadata.known_hashes().await?),
        worker_program: context.composition.worker_program(&plan),
        cache: context.cache.clone(),
    };
    let options = RunOptions {
        stop: context.cancellation.stop.clone(),
        abort: context.cancellation.cut_short.clone(),
        metrics: Arc::clone(&context.metrics),
        rejections: context.rejections.clone(),
    };
    let report = composition::engine(&context.spec).run(plan, &with, options).await?;
    purge(metadata, vectors.store.as_ref()).await?;
    Ok(report)
}

/// Deletes the missing documents of completely listed sources and returns their number.
async fn delete_missing(
    run: &Run<'_>,
    metadata: &RunMetadata,
    covered: &[String],
) -> Result<u64, BoxError> {
    let devices = devices_of(covered);
    let missing = metadata.missing_documents(covered).await?;
    if !run.request.allow_deletes {
        let ratio = run.context.spec.file.lifecycle.max_delete_ratio;
        if let Some(error) = missing.iter().find_map(|it| check_deletions(it, ratio, &devices)) {
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

/// Updates the location in the points of moved documents. The points are marked as unreliable
/// first, so that a document that moves back before the next run is not taken for an unmoved one.
pub(crate) async fn relocate(
    metadata: &RunMetadata,
    vectors: &GenerationVectors,
) -> Result<(), BoxError> {
    let mut after = Uuid::nil();
    loop {
        let moved = metadata.pending_relocations(after, BATCH_SIZE).await?;
        let Some(last) = moved.last() else { return Ok(()) };
        after = last.document;
        let ids: Vec<_> = moved.iter().map(|it| it.document).collect();
        metadata.mark_relocating(&ids).await?;
        let places: Vec<_> = moved.iter().map(|it| (it.document, current_location(it))).collect();
        let changes: Vec<_> = places
            .iter()
            .map(|(document, place)| vectors.store.update_location(*document, place))
            .collect();
        stream::iter(changes).buffer_unordered(MAX_IN_FLIGHT).try_collect::<()>().await?;
        vectors.store.flush().await?;
        metadata.mark_relocated(&places).await?;
    }
}

/// The current location of a document. A title derived from the file name follows the new name.
fn current_location(moved: &Relocation) -> DocumentLocation {
    let before =
        Path::new(&moved.before).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let named_after_file = moved.title.is_some() && before == moved.title;
    DocumentLocation {
        uri: moved.uri.clone(),
        source: moved.source.clone().unwrap_or_default(),
        title: if named_after_file { pipeline::uri::stem(&moved.uri) } else { None },
        modified_at: moved.mtime.map(|at| at.timestamp_micros()),
    }
}

/// Removes points without a document, including those left by a killed run.
pub(crate) async fn purge(
    metadata: &RunMetadata,
    vectors: &dyn pipeline::Vectors,
) -> Result<(), BoxError> {
    loop {
        let documents = metadata.unpurged(BATCH_SIZE).await?;
        if documents.is_empty() {
            return Ok(());
        }
        sinks::purge(metadata, vectors as &dyn VectorStore, &documents).await?;
    }
}
