//! Decides from `stat` and the known state whether a file must be read.

use std::path::PathBuf;
use std::sync::Arc;

use pipeline::{ContentHash, DocError, FAILED, KnownLocation, KnownState, Location, SetAside, Why};

use crate::scan::open::Root;
use crate::scan::read::CHANGED;
use crate::scan::walk::Found;

/// A file that must be read.
pub(crate) struct ToRead {
    pub(crate) path: PathBuf,
    pub(crate) location: Location,
    /// The root through which the file is opened.
    pub(crate) root: Arc<Root>,
    /// Device of the file during the walk.
    pub(crate) device: u64,
    /// Known content hash of this location.
    pub(crate) known_hash: Option<ContentHash>,
    /// Message of a document that a user deleted; the file is set aside with it while its content
    /// is unchanged.
    pub(crate) withheld: Option<String>,
    /// The failure of an earlier run, if the file could not be read then; the same failure again is
    /// not reported as new.
    pub(crate) failed_before: Option<Why>,
}

/// Result of [`decide`].
pub(crate) enum Decision {
    /// The content is needed.
    Read(ToRead),
    /// The file is rejected without reading it.
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

/// The known failure of a location that an earlier run could not read.
fn failure_of_before(state: &KnownState) -> Option<Why> {
    let KnownState::Unreadable { node, message, since } = state else { return None };
    let (node, message) = (node.clone(), message.clone());
    Some(Why::Before { node, reason: FAILED.to_owned(), message, since: *since })
}

/// Replaces a failure by the known one if both are the same. A change of the file during the run is
/// always new.
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

/// `true` if the file was not written since. An edit that preserves size and modification time
/// still changes `ctime`, and a file that replaced another one has its own inode.
fn is_same(before: &Location, now: &Location) -> bool {
    (before.size, before.mtime, before.ctime, before.inode)
        == (now.size, now.mtime, now.ctime, now.inode)
}

/// The earlier outcome of an unchanged file; `None` if it must be read again. A file that now comes
/// from another source root is reported as touched, so that the store records the new source.
fn as_before(state: KnownState, content: Option<ContentHash>, same_source: bool) -> Option<Why> {
    match state {
        KnownState::Stored if !same_source => Some(Why::Touched),
        KnownState::Stored => Some(Why::Unchanged),
        KnownState::Withheld { message } => Some(Why::Withheld { message }),
        // The earlier failure occurred before its content was read completely.
        KnownState::SetAside { reason, .. } if reason == FAILED && content.is_none() => None,
        KnownState::SetAside { node, reason, message, since } => {
            Some(Why::Before { node, reason, message, since })
        }
        KnownState::Unreadable { .. } | KnownState::Stale => None,
    }
}
