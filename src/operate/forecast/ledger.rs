//! What a forecast has counted: every document once, by what would become of it and why.
//!
//! It remembers a digest of each place and content, a few dozen bytes a document, since what is gone is what was
//! not seen, and a file that was renamed is one that is gone here and is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metadata::{DocumentStatus, Missing, Prospect};
use pipeline::{
    ContentHash, FAILED, KnownHashes, KnownLocation, Location, RunReport, SetAside, StoreError, Why,
};
use sha2::{Digest as _, Sha256};

use super::Forecast;
use super::look::Look;
use crate::render;

/// What would become of a document, and why. In the order in which people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cause {
    /// Its content was never seen.
    New,
    /// Its place held another content.
    Edited,
    /// It is stored, or was set aside, by other settings.
    SettingsChanged,
    /// A document of its content was deleted, and comes back.
    Restored,
    /// It was set aside, and is tried again.
    Retried,
    /// A run died while it wrote it.
    Unfinished,
    /// It is stored as it is.
    Unchanged,
    /// So it is; what the file system says of it has changed.
    Touched,
    /// A stored document that is elsewhere now.
    Renamed,
    /// A stored document that is elsewhere, too.
    Copied,
    /// Of the same content as another one of this run, or of the collection.
    Duplicate,
    /// Gone from its source.
    Deleted,
}

impl Cause {
    /// Every one, in order.
    pub(crate) const ALL: [Self; 12] = [
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

    /// One word for it, as it stands in JSON.
    pub(crate) fn word(self) -> &'static str {
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

    /// Whether the model has to read such a document.
    pub(crate) fn embeds(self) -> bool {
        self <= Self::Unfinished
    }
}

/// Documents of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) documents: u64,
    pub(crate) chunks: u64,
    pub(crate) tokens: u64,
    /// URIs of the first of them, [`KEPT`] at most.
    examples: Vec<String>,
}

/// How many examples are shown of each kind.
const EXAMPLES: usize = 5;

/// How many are kept: a tally may be divided into two, each of which shows one more than [`EXAMPLES`] where it has just
/// that many documents.
const KEPT: usize = 2 * (EXAMPLES + 1);

impl Tally {
    fn add(&mut self, uri: &str, (chunks, tokens): (u64, u64)) {
        self.documents += 1;
        self.chunks += chunks;
        self.tokens += tokens;
        if self.examples.len() < KEPT {
            self.examples.push(uri.to_owned());
        }
    }

    /// The URIs that are shown, and how many documents there are besides: never just one.
    pub(crate) fn shown(&self) -> (&[String], u64) {
        let documents = usize::try_from(self.documents).unwrap_or(usize::MAX);
        let shown = render::shown(documents, EXAMPLES).min(self.examples.len());
        (&self.examples[..shown], self.documents - u64::try_from(shown).unwrap_or(0))
    }

    /// Takes a part of another one in, and the examples that go with it.
    fn take(&mut self, documents: u64, examples: impl Iterator<Item = String>) {
        self.documents += documents;
        let room = (EXAMPLES + 1).saturating_sub(self.examples.len());
        let few = usize::try_from(documents).unwrap_or(room).min(room);
        self.examples.extend(examples.take(few));
    }
}

/// The first half of a digest: two of them are the same by chance once in 2⁶⁴ documents.
type Short = u128;

fn short(digest: &[u8]) -> Short {
    Short::from_be_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

pub(super) struct Ledger {
    /// What the collection holds as the present settings would store it.
    pub(super) known: Arc<KnownHashes>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was known of the places of documents in flight.
    in_flight: HashMap<String, KnownLocation>,
    /// The places that were seen.
    seen: HashSet<Short>,
    /// Contents that have a place after the run.
    held: HashSet<Short>,
    /// Those among them that each source gives.
    given: HashMap<String, HashSet<Short>>,
    /// Stored contents that were seen at places that are new.
    moved: HashMap<Short, Tally>,
    /// Folders that cannot be looked into.
    hidden: Vec<String>,
    causes: BTreeMap<Cause, Tally>,
    set_aside: BTreeMap<String, Tally>,
}

impl Ledger {
    pub(super) fn new(known: KnownHashes) -> Self {
        Self { known: Arc::new(known), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of places that a source came upon.
    pub(super) fn located(&self, uris: &[String], known: &[Option<KnownLocation>]) {
        let mut state = self.lock();
        for (uri, known) in uris.iter().zip(known) {
            if let Some(known) = known {
                state.in_flight.insert(uri.clone(), known.clone());
            }
        }
    }

    /// A document that would be given to the model, or to a sink.
    pub(super) fn stored(
        &self,
        location: &Location,
        content: ContentHash,
        prospect: Prospect,
        size: (u64, u64),
    ) {
        let mut state = self.lock();
        let Some(known) = state.leave(location, Some(content)) else { return };
        let cause = why_stored(known.as_ref(), content, prospect);
        state.causes.entry(cause).or_default().add(&location.uri, size);
    }

    /// A document that would leave early.
    pub(super) fn set_aside(&self, document: &SetAside) {
        let SetAside { location, content_hash, why } = document;
        let uri = &location.uri;
        let mut state = self.lock();
        let is_out = matches!(why, Why::Withheld { .. });
        let Some(known) = state.leave(location, content_hash.filter(|_| !is_out)) else { return };
        let cause = match why {
            Why::Unchanged => Cause::Unchanged,
            Why::Touched => Cause::Touched,
            Why::Duplicate => match content_hash.filter(|content| self.known.contains(content)) {
                Some(content) if known.is_none() => {
                    state.moved.entry(short(&content.0)).or_default().add(uri, (0, 0));
                    return;
                }
                Some(_) | None => Cause::Duplicate,
            },
            Why::Empty
            | Why::Images { .. }
            | Why::TooLarge { .. }
            | Why::Unsupported { .. }
            | Why::Unrouted
            | Why::Failed(_)
            | Why::Withheld { .. }
            | Why::Before { .. } => {
                if why.reason() == FAILED {
                    state.hidden.push(format!("{uri}/"));
                }
                let reason = why.reason().to_owned();
                state.set_aside.entry(reason).or_default().add(uri, (0, 0));
                return;
            }
        };
        state.causes.entry(cause).or_default().add(uri, (0, 0));
    }

    /// Looks for what is gone, once everything was seen, and writes it all into the forecast.
    pub(super) async fn settle(
        &self,
        look: &Look,
        report: &RunReport,
        forecast: &mut Forecast,
    ) -> Result<(), StoreError> {
        let mut state = std::mem::take(&mut *self.lock());
        let mut gone: Vec<(Option<Short>, String, String)> = Vec::new();
        let mut page = look.places(None).await?;
        while let Some(last) = page.last() {
            for place in &page {
                let content = place.content_hash.as_deref().map(short);
                let source = place.source.clone().unwrap_or_default();
                if state.is_gone(&place.uri, &source, &report.covered) {
                    gone.push((content, source, place.uri.clone()));
                } else if !state.seen.contains(&short(&Sha256::digest(&place.uri))) {
                    // It was not looked for, and stays.
                    state.held.extend(content);
                    state.given.entry(source).or_default().extend(content);
                }
            }
            page = look.places(Some(last)).await?;
        }
        state.tell_renamed(&gone);
        forecast.missing = state.tell_deleted(&gone, &look.devices().await?);
        forecast.seen = report.documents.seen;
        // A place that two sources give is told here alone.
        let told = |cause| state.causes.get(&cause).map_or(0, |tally| tally.documents);
        let more = report
            .documents
            .duplicate
            .saturating_sub(told(Cause::Renamed) + told(Cause::Copied) + told(Cause::Duplicate));
        if more > 0 {
            state.causes.entry(Cause::Duplicate).or_default().documents += more;
        }
        forecast.causes = state.causes;
        forecast.set_aside = state.set_aside;
        Ok(())
    }
}

impl State {
    /// Notes that a document leaves; gives what was known of its place, or `None` if it has left before, by
    /// another branch.
    fn leave(
        &mut self,
        location: &Location,
        content: Option<ContentHash>,
    ) -> Option<Option<KnownLocation>> {
        let known = self.in_flight.remove(&location.uri);
        if !self.seen.insert(short(&Sha256::digest(&location.uri))) {
            return None;
        }
        if let Some(content) = content.map(|content| short(&content.0)) {
            self.held.insert(content);
            self.given.entry(location.source.clone()).or_default().insert(content);
        }
        Some(known)
    }

    fn is_gone(&self, uri: &str, source: &str, covered: &[String]) -> bool {
        covered.iter().any(|covered| covered == source)
            && !self.seen.contains(&short(&Sha256::digest(uri)))
            && !self.hidden.iter().any(|folder| uri.starts_with(folder))
    }

    /// A stored content at a new place is one that was renamed as often as a place of it is gone, and else a copy.
    fn tell_renamed(&mut self, gone: &[(Option<Short>, String, String)]) {
        let mut times: HashMap<Short, u64> = HashMap::new();
        for content in gone.iter().filter_map(|(content, _, _)| *content) {
            *times.entry(content).or_default() += 1;
        }
        let mut moved: Vec<_> = std::mem::take(&mut self.moved).into_iter().collect();
        moved.sort_by(|(_, a), (_, b)| a.examples.cmp(&b.examples));
        for (content, tally) in moved {
            let renamed = times.get(&content).copied().unwrap_or(0).min(tally.documents);
            let copied = tally.documents - renamed;
            let mut examples = tally.examples.into_iter();
            for (cause, documents) in [(Cause::Renamed, renamed), (Cause::Copied, copied)] {
                if documents > 0 {
                    self.causes.entry(cause).or_default().take(documents, examples.by_ref());
                }
            }
        }
    }

    /// A content that has no place any more is a document that is deleted.
    fn tell_deleted(
        &mut self,
        gone: &[(Option<Short>, String, String)],
        devices: &HashMap<String, i64>,
    ) -> Vec<Missing> {
        let mut by_source: BTreeMap<&str, (HashSet<Short>, i64)> = BTreeMap::new();
        let mut deleted = HashSet::new();
        for (content, source, uri) in gone {
            let (lost, locations) = by_source.entry(source).or_default();
            *locations += 1;
            let Some(content) = content else { continue };
            self.given.entry(source.clone()).or_default().insert(*content);
            if self.held.contains(content) {
                continue;
            }
            lost.insert(*content);
            if deleted.insert(*content) {
                self.causes.entry(Cause::Deleted).or_default().add(uri, (0, 0));
            }
        }
        let count = |set: &HashSet<Short>| i64::try_from(set.len()).unwrap_or(i64::MAX);
        let missing = by_source.into_iter().map(|(source, (lost, locations))| Missing {
            source: source.to_owned(),
            documents: count(&lost),
            of: self.given.get(source).map_or(0, count),
            device: devices.get(source).copied(),
            locations,
        });
        missing.collect()
    }
}

fn why_stored(known: Option<&KnownLocation>, content: ContentHash, prospect: Prospect) -> Cause {
    match prospect.status {
        Some(DocumentStatus::Completed) if prospect.is_current => Cause::Unfinished,
        Some(DocumentStatus::Failed) if prospect.is_current => Cause::Retried,
        Some(_) => Cause::SettingsChanged,
        None if prospect.was_deleted => Cause::Restored,
        None => match known.map(|known| known.content_hash) {
            None => Cause::New,
            Some(None) => Cause::Retried,
            Some(Some(before)) if before == content => Cause::Unfinished,
            Some(Some(_)) => Cause::Edited,
        },
    }
}
