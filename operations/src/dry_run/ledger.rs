//! The counts of a dry run: each document once, by expected outcome and cause.
//!
//! Keeps a digest per location and content, a few dozen bytes per document: a missing document is
//! one that was not seen, and a renamed file is missing at one location and new at another.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use metadata::{ContentMatch, DocumentStatus};
use pipeline::{
    ContentHash, FAILED_REASON, KnownHashes, KnownLocation, Location, MissingDocuments,
    RejectReason, Rejection, RunReport, StoreError,
};
use sha2::{Digest as _, Sha256};

use super::DryRunReport;
use super::prior_state::PriorState;
use crate::text;

/// The expected outcome of a document and its cause, in the order of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeCause {
    /// No stored or deleted document has its content.
    New,
    /// Its location had another content before.
    Edited,
    /// It was stored or set aside with other settings.
    SettingsChanged,
    /// A deleted document has its content and is restored.
    Restored,
    /// It was set aside and is tried again.
    Retried,
    /// A run died while writing it.
    Unfinished,
    /// It is stored and unchanged.
    Unchanged,
    /// It is stored and unchanged; only its size, times or inode differ.
    Touched,
    /// A stored document at a new location; the old one is missing.
    Renamed,
    /// A stored document at a further location.
    Copied,
    /// Another document of this run, or a stored one, has the same content.
    Duplicate,
    /// Missing in its source.
    Deleted,
}

impl ChangeCause {
    /// All causes, in the order of the output.
    pub const ALL: [Self; 12] = [
        Self::New,
        Self::Edited,
        Self::SettingsChanged,
        Self::Restored,
        Self::Retried,
        Self::Unfinished,
        Self::Unchanged,
        Self::Touched,
        Self::Renamed,
        Self::Copied,
        Self::Duplicate,
        Self::Deleted,
    ];

    /// The key of the cause in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Edited => "edited",
            Self::SettingsChanged => "settings_changed",
            Self::Restored => "restored",
            Self::Retried => "retried",
            Self::Unfinished => "unfinished",
            Self::Unchanged => "unchanged",
            Self::Touched => "touched",
            Self::Renamed => "renamed",
            Self::Copied => "copied",
            Self::Duplicate => "duplicate",
            Self::Deleted => "deleted",
        }
    }

    /// `true` if the model embeds such a document.
    pub fn embeds(self) -> bool {
        self <= Self::Unfinished
    }
}

/// Documents with one cause or reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of documents.
    pub documents: u64,
    /// Their chunks; 0 if they are not read or not embedded.
    pub chunks: u64,
    /// Tokens of these chunks.
    pub tokens: u64,
    /// URIs of the first ones, at most [`KEPT`].
    examples: Vec<String>,
}

/// Examples shown per cause or reason.
const MAX_EXAMPLES: usize = 5;

/// Examples kept. A tally may be split into two, and each part shows [`MAX_EXAMPLES`] + 1 if it has
/// exactly that many documents.
const KEPT: usize = 2 * (MAX_EXAMPLES + 1);

impl Tally {
    fn add(&mut self, uri: &str, (chunks, tokens): (u64, u64)) {
        self.documents += 1;
        self.chunks += chunks;
        self.tokens += tokens;
        if self.examples.len() < KEPT {
            self.examples.push(uri.to_owned());
        }
    }

    /// The URIs to show, and the number of further documents, which is never 1.
    pub fn shown(&self) -> (&[String], u64) {
        let documents = usize::try_from(self.documents).unwrap_or(usize::MAX);
        let shown = text::shown(documents, MAX_EXAMPLES).min(self.examples.len());
        (&self.examples[..shown], self.documents - u64::try_from(shown).unwrap_or(0))
    }

    /// Adds a part of another tally with the examples that belong to it.
    fn merge(&mut self, documents: u64, examples: impl Iterator<Item = String>) {
        self.documents += documents;
        let room = (MAX_EXAMPLES + 1).saturating_sub(self.examples.len());
        let few = usize::try_from(documents).unwrap_or(room).min(room);
        self.examples.extend(examples.take(few));
    }
}

/// The first half of a digest: a collision is expected once in 2⁶⁴ documents.
type ShortHash = u128;

fn short_hash(digest: &[u8]) -> ShortHash {
    ShortHash::from_be_bytes(*digest.first_chunk().expect("a SHA-256 digest has 32 bytes"))
}

pub(super) struct Ledger {
    /// The contents of the collection that are stored with the current settings.
    pub(super) known: Arc<KnownHashes>,
    state: Mutex<LedgerState>,
}

#[derive(Default)]
struct LedgerState {
    /// The known states of the locations of documents in flight.
    in_flight: HashMap<String, KnownLocation>,
    /// The locations that the run has seen.
    seen: HashSet<ShortHash>,
    /// Contents that have a location after the run.
    kept_contents: HashSet<ShortHash>,
    /// The same by source.
    contents_by_source: HashMap<String, HashSet<ShortHash>>,
    /// Stored contents that were seen at new locations.
    renamed_contents: HashMap<ShortHash, Tally>,
    /// Unreadable folders, each with a trailing slash.
    unreadable_folders: Vec<String>,
    causes: BTreeMap<ChangeCause, Tally>,
    set_aside: BTreeMap<String, Tally>,
}

impl Ledger {
    pub(super) fn new(known: KnownHashes) -> Self {
        Self { known: Arc::new(known), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, LedgerState> {
        pipeline::lock(&self.state)
    }

    /// Records the known states of locations that a source has listed.
    pub(super) fn record_known(&self, uris: &[String], known: &[Option<KnownLocation>]) {
        let mut state = self.lock();
        for (uri, known) in uris.iter().zip(known) {
            if let Some(known) = known {
                state.in_flight.insert(uri.clone(), known.clone());
            }
        }
    }

    /// Records a document that would reach the model or a sink.
    pub(super) fn record_stored(
        &self,
        location: &Location,
        content: ContentHash,
        prospect: ContentMatch,
        size: (u64, u64),
    ) {
        let mut state = self.lock();
        let Some(known) = state.record_exit(location, Some(content)) else { return };
        let cause = cause_of_storing(known.as_ref(), content, prospect);
        state.causes.entry(cause).or_default().add(&location.uri, size);
    }

    /// Records a document that would be rejected.
    pub(super) fn record_rejection(&self, document: &Rejection) {
        let Rejection { location, content_hash, reason: why } = document;
        let uri = &location.uri;
        let mut state = self.lock();
        let is_out = matches!(why, RejectReason::Withheld { .. });
        let Some(known) = state.record_exit(location, content_hash.filter(|_| !is_out)) else {
            return;
        };
        let cause = match why {
            RejectReason::Unchanged => ChangeCause::Unchanged,
            RejectReason::MetadataChanged => ChangeCause::Touched,
            RejectReason::Duplicate => {
                match content_hash.filter(|content| self.known.contains(content)) {
                    Some(content) if known.is_none() => {
                        state
                            .renamed_contents
                            .entry(short_hash(&content.0))
                            .or_default()
                            .add(uri, (0, 0));
                        return;
                    }
                    Some(_) | None => ChangeCause::Duplicate,
                }
            }
            RejectReason::Empty
            | RejectReason::ImagesOnly { .. }
            | RejectReason::TooLarge { .. }
            | RejectReason::Unsupported { .. }
            | RejectReason::Unrouted
            | RejectReason::Failed(_)
            | RejectReason::Withheld { .. }
            | RejectReason::PreviouslyRejected { .. } => {
                if why.code() == FAILED_REASON {
                    state.unreadable_folders.push(format!("{uri}/"));
                }
                let reason = why.code().to_owned();
                state.set_aside.entry(reason).or_default().add(uri, (0, 0));
                return;
            }
        };
        state.causes.entry(cause).or_default().add(uri, (0, 0));
    }

    /// Determines the missing documents, once all others are recorded, and completes the forecast.
    pub(super) async fn finish(
        &self,
        look: &PriorState,
        report: &RunReport,
        forecast: &mut DryRunReport,
    ) -> Result<(), StoreError> {
        let mut state = std::mem::take(&mut *self.lock());
        let mut gone: Vec<(Option<ShortHash>, String, String)> = Vec::new();
        let mut page = look.known_locations(None).await?;
        while let Some(last) = page.last() {
            for place in &page {
                let content = place.content_hash.as_deref().map(short_hash);
                let source = place.source.clone().unwrap_or_default();
                if state.is_gone(&place.uri, &source, &report.exhausted_roots) {
                    gone.push((content, source, place.uri.clone()));
                } else if !state.seen.contains(&short_hash(&Sha256::digest(&place.uri))) {
                    // Its source was not listed completely, so the document stays.
                    state.kept_contents.extend(content);
                    state.contents_by_source.entry(source).or_default().extend(content);
                }
            }
            page = look.known_locations(Some(last)).await?;
        }
        state.count_renamed(&gone);
        forecast.missing = state.count_deleted(&gone, &look.devices().await?);
        forecast.documents_seen = report.documents.seen;
        // A location that two sources provide is counted only here.
        let told = |cause| state.causes.get(&cause).map_or(0, |tally| tally.documents);
        let more = report.documents.duplicate.saturating_sub(
            told(ChangeCause::Renamed) + told(ChangeCause::Copied) + told(ChangeCause::Duplicate),
        );
        if more > 0 {
            state.causes.entry(ChangeCause::Duplicate).or_default().documents += more;
        }
        forecast.causes = state.causes;
        forecast.set_aside = state.set_aside;
        Ok(())
    }
}

impl LedgerState {
    /// Records that a document leaves the pipeline. Returns the known state of its location, or
    /// `None` if it left before on another branch.
    fn record_exit(
        &mut self,
        location: &Location,
        content: Option<ContentHash>,
    ) -> Option<Option<KnownLocation>> {
        let known = self.in_flight.remove(&location.uri);
        if !self.seen.insert(short_hash(&Sha256::digest(&location.uri))) {
            return None;
        }
        if let Some(content) = content.map(|content| short_hash(&content.0)) {
            self.kept_contents.insert(content);
            self.contents_by_source.entry(location.source.clone()).or_default().insert(content);
        }
        Some(known)
    }

    fn is_gone(&self, uri: &str, source: &str, covered: &[String]) -> bool {
        covered.iter().any(|covered| covered == source)
            && !self.seen.contains(&short_hash(&Sha256::digest(uri)))
            && !self.unreadable_folders.iter().any(|folder| uri.starts_with(folder))
    }

    /// A stored content at a new location counts as renamed for each of its missing locations, and
    /// as copied otherwise.
    fn count_renamed(&mut self, gone: &[(Option<ShortHash>, String, String)]) {
        let mut times: HashMap<ShortHash, u64> = HashMap::new();
        for content in gone.iter().filter_map(|(content, _, _)| *content) {
            *times.entry(content).or_default() += 1;
        }
        let mut moved: Vec<_> = std::mem::take(&mut self.renamed_contents).into_iter().collect();
        moved.sort_by(|(_, a), (_, b)| a.examples.cmp(&b.examples));
        for (content, tally) in moved {
            let renamed = times.get(&content).copied().unwrap_or(0).min(tally.documents);
            let copied = tally.documents - renamed;
            let mut examples = tally.examples.into_iter();
            for (cause, documents) in
                [(ChangeCause::Renamed, renamed), (ChangeCause::Copied, copied)]
            {
                if documents > 0 {
                    self.causes.entry(cause).or_default().merge(documents, examples.by_ref());
                }
            }
        }
    }

    /// A content without a remaining location is a deleted document.
    fn count_deleted(
        &mut self,
        gone: &[(Option<ShortHash>, String, String)],
        devices: &HashMap<String, i64>,
    ) -> Vec<MissingDocuments> {
        let mut by_source: BTreeMap<&str, (HashSet<ShortHash>, i64)> = BTreeMap::new();
        let mut deleted = HashSet::new();
        for (content, source, uri) in gone {
            let (lost, locations) = by_source.entry(source).or_default();
            *locations += 1;
            let Some(content) = content else { continue };
            self.contents_by_source.entry(source.clone()).or_default().insert(*content);
            if self.kept_contents.contains(content) {
                continue;
            }
            lost.insert(*content);
            if deleted.insert(*content) {
                self.causes.entry(ChangeCause::Deleted).or_default().add(uri, (0, 0));
            }
        }
        let count = |set: &HashSet<ShortHash>| i64::try_from(set.len()).unwrap_or(i64::MAX);
        let missing = by_source.into_iter().map(|(source, (lost, locations))| MissingDocuments {
            source: source.to_owned(),
            documents: count(&lost),
            of: self.contents_by_source.get(source).map_or(0, count),
            device: devices.get(source).copied(),
            locations,
        });
        missing.collect()
    }
}

fn cause_of_storing(
    known: Option<&KnownLocation>,
    content: ContentHash,
    prospect: ContentMatch,
) -> ChangeCause {
    match prospect.status {
        Some(DocumentStatus::Completed) if prospect.is_current => ChangeCause::Unfinished,
        Some(DocumentStatus::Failed) if prospect.is_current => ChangeCause::Retried,
        Some(_) => ChangeCause::SettingsChanged,
        None if prospect.was_deleted => ChangeCause::Restored,
        None => match known.map(|known| known.content_hash) {
            None => ChangeCause::New,
            Some(None) => ChangeCause::Retried,
            Some(Some(before)) if before == content => ChangeCause::Unfinished,
            Some(Some(_)) => ChangeCause::Edited,
        },
    }
}
