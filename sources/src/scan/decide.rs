//! Decides from `stat` and the known state whether a file must be read.

use std::path::PathBuf;
use std::sync::Arc;

use pipeline::{
    ContentHash, DocumentError, FAILED_REASON, KnownLocation, KnownState, Location, RejectReason,
    Rejection,
};

use crate::scan::cause::CHANGED_WHILE_READ;
use crate::scan::open::Root;
use crate::scan::walk::WalkEntry;

/// A file that must be read.
pub(crate) struct FileToRead {
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
    pub(crate) withheld_message: Option<String>,
    /// The failure of an earlier run, if the file could not be read then; the same failure again is
    /// not reported as new.
    pub(crate) previous_failure: Option<RejectReason>,
}

/// Result of [`decide`].
pub(crate) enum Decision {
    /// The content is needed.
    Read(FileToRead),
    /// The file is rejected without reading it.
    Reject(Rejection),
}

/// Decides about one file; a pure function.
pub(crate) fn decide(found: WalkEntry, known: Option<KnownLocation>, max_size: u64) -> Decision {
    let (path, location, root, device) = match found {
        WalkEntry::File { path, location, root, device } => (path, location, root, device),
        WalkEntry::Error(document) => {
            let before = known.and_then(|known| previous_failure(&known.state));
            return Decision::Reject(with_previous_failure(document, before.as_ref()));
        }
    };
    let known_hash = known.as_ref().and_then(|known| known.content_hash);
    let (mut withheld, mut failed_before) = (None, None);
    if let Some(known) = known {
        let is_same = is_unmodified(&known.location, &location);
        if let KnownState::Withheld { message } = &known.state {
            withheld = Some(message.clone());
        }
        failed_before = previous_failure(&known.state);
        let same_source = known.location.source == location.source;
        if is_same && let Some(why) = previous_rejection(known.state, known_hash, same_source) {
            return Decision::Reject(Rejection { location, content_hash: known_hash, reason: why });
        }
    }
    if location.size > max_size {
        let why = RejectReason::TooLarge { size: location.size, limit: max_size };
        return Decision::Reject(Rejection { location, content_hash: None, reason: why });
    }
    Decision::Read(FileToRead {
        path,
        location,
        root,
        device,
        known_hash,
        withheld_message: withheld,
        previous_failure: failed_before,
    })
}

/// The known failure of a location that an earlier run could not read.
fn previous_failure(state: &KnownState) -> Option<RejectReason> {
    let KnownState::Unreadable { node, message, since } = state else { return None };
    let (node, message) = (node.clone(), message.clone());
    Some(RejectReason::PreviouslyRejected {
        node,
        reason: FAILED_REASON.to_owned(),
        message,
        since: *since,
    })
}

/// Replaces a failure by the known one if both are the same. A change of the file during the run is
/// always new.
pub(crate) fn with_previous_failure(
    document: Rejection,
    before: Option<&RejectReason>,
) -> Rejection {
    let has_changed = matches!(
        &document.reason,
        RejectReason::Failed(DocumentError::Unreadable { cause }) if cause == CHANGED_WHILE_READ
    );
    match before {
        Some(before) if !has_changed && before.to_string() == document.reason.to_string() => {
            Rejection { reason: before.clone(), ..document }
        }
        Some(_) | None => document,
    }
}

/// `true` if the file was not written since. An edit that preserves size and modification time
/// still changes `ctime`, and a file that replaced another one has its own inode.
fn is_unmodified(before: &Location, now: &Location) -> bool {
    (before.size, before.mtime, before.ctime, before.inode)
        == (now.size, now.mtime, now.ctime, now.inode)
}

/// The earlier outcome of an unchanged file; `None` if it must be read again. A file that now comes
/// from another source root is reported as touched, so that the store records the new source.
fn previous_rejection(
    state: KnownState,
    content: Option<ContentHash>,
    same_source: bool,
) -> Option<RejectReason> {
    match state {
        KnownState::Stored if !same_source => Some(RejectReason::MetadataChanged),
        KnownState::Stored => Some(RejectReason::Unchanged),
        KnownState::Withheld { message } => Some(RejectReason::Withheld { message }),
        // The earlier failure occurred before its content was read completely.
        KnownState::Rejected { reason, .. } if reason == FAILED_REASON && content.is_none() => None,
        KnownState::Rejected { node, reason, message, since } => {
            Some(RejectReason::PreviouslyRejected { node, reason, message, since })
        }
        KnownState::Unreadable { .. } | KnownState::Stale => None,
    }
}
