//! Decides from `stat` and from what is known whether a file has to be read.

use std::path::PathBuf;
use std::sync::Arc;

use pipeline::{ContentHash, DocError, FAILED, KnownLocation, KnownState, Location, SetAside, Why};

use crate::scan::open::Root;
use crate::scan::read::CHANGED;
use crate::scan::walk::Found;

/// A file that has to be read.
pub(crate) struct ToRead {
    pub(crate) path: PathBuf,
    pub(crate) location: Location,
    /// Where it is opened.
    pub(crate) root: Arc<Root>,
    /// The device that the walk saw it on.
    pub(crate) device: u64,
    /// The content that this location had before.
    pub(crate) known_hash: Option<ContentHash>,
    /// If its document was deleted by somebody: it is set aside with these words if it holds what it held.
    pub(crate) withheld: Option<String>,
    /// The failure of before, if it could not be read then: it is no news if it fails in the same way.
    pub(crate) failed_before: Option<Why>,
}

/// What is to be done with a file.
pub(crate) enum Decision {
    /// Its content is needed.
    Read(ToRead),
    /// It leaves here.
    SetAside(SetAside),
}

/// Decides about one file; a pure function.
pub(crate) fn decide(found: Found, known: Option<KnownLocation>, max_size: u64) -> Decision {
    let (path, location, root, device) = match found {
        Found::File { path, location, root, device } => (path, location, root, device),
        Found::Trouble(document) => {
            let before = known.and_then(|known| failure_of_before(&known.state));
            return Decision::SetAside(as_news(document, before.as_ref()));
        }
    };
    let known_hash = known.as_ref().and_then(|known| known.content_hash);
    let (mut withheld, mut failed_before) = (None, None);
    if let Some(known) = known {
        let is_same = is_same(&known.location, &location);
        if let KnownState::Withheld { message } = &known.state {
            withheld = Some(message.clone());
        }
        failed_before = failure_of_before(&known.state);
        let same_source = known.location.source == location.source;
        if is_same && let Some(why) = as_before(known.state, known_hash, same_source) {
            return Decision::SetAside(SetAside { location, content_hash: known_hash, why });
        }
    }
    if location.size > max_size {
        let why = Why::TooLarge { size: location.size, limit: max_size };
        return Decision::SetAside(SetAside { location, content_hash: None, why });
    }
    Decision::Read(ToRead { path, location, root, device, known_hash, withheld, failed_before })
}

/// The failure of a location that could not be read before, as that of before.
fn failure_of_before(state: &KnownState) -> Option<Why> {
    let KnownState::Unreadable { node, message, since } = state else { return None };
    let (node, message) = (node.clone(), message.clone());
    Some(Why::Before { node, reason: FAILED.to_owned(), message, since: *since })
}

/// A document that cannot be read; as the failure of before if it is the same one. That a file changed while it was
/// read is news each time.
pub(crate) fn as_news(document: SetAside, before: Option<&Why>) -> SetAside {
    let has_changed = matches!(
        &document.why,
        Why::Failed(DocError::Unreadable { cause }) if cause == CHANGED
    );
    match before {
        Some(before) if !has_changed && before.to_string() == document.why.to_string() => {
            SetAside { why: before.clone(), ..document }
        }
        Some(_) | None => document,
    }
}

/// Whether nothing was written to the file since. An edit that keeps size and modification time still
/// changes the time of change, and a file that was put in the place of another one has its own inode.
fn is_same(before: &Location, now: &Location) -> bool {
    (before.size, before.mtime, before.ctime, before.inode)
        == (now.size, now.mtime, now.ctime, now.inode)
}

/// What became of the file before, if that holds still. One that another source gives now is known as that
/// one's.
fn as_before(state: KnownState, content: Option<ContentHash>, same_source: bool) -> Option<Why> {
    match state {
        KnownState::Stored if !same_source => Some(Why::Touched),
        KnownState::Stored => Some(Why::Unchanged),
        KnownState::Withheld { message } => Some(Why::Withheld { message }),
        // It was not read to its end then.
        KnownState::SetAside { reason, .. } if reason == FAILED && content.is_none() => None,
        KnownState::SetAside { node, reason, message, since } => {
            Some(Why::Before { node, reason, message, since })
        }
        KnownState::Unreadable { .. } | KnownState::Stale => None,
    }
}
