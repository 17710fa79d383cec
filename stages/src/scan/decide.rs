//! Decides from `stat` and from what is known whether a file has to be read.

use std::path::PathBuf;

use pipeline::{ContentHash, FAILED, KnownLocation, KnownState, Location, SetAside, Why};

use crate::scan::walk::Found;

/// A file that has to be read.
pub(crate) struct ToRead {
    pub(crate) path: PathBuf,
    pub(crate) location: Location,
    /// The content that this location had before.
    pub(crate) known_hash: Option<ContentHash>,
    /// If its document was deleted by somebody: it is set aside with these words if it holds what it held.
    pub(crate) withheld: Option<String>,
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
    let (path, location) = match found {
        Found::File { path, location } => (path, location),
        Found::Trouble(document) => return Decision::SetAside(document),
    };
    let known_hash = known.as_ref().and_then(|known| known.content_hash);
    let mut withheld = None;
    if let Some(known) = known {
        let is_same = is_same(&known.location, &location);
        if let KnownState::Withheld { message } = &known.state {
            withheld = Some(message.clone());
        }
        let same_source = known.location.source == location.source;
        if is_same && let Some(why) = as_before(known.state, known_hash, same_source) {
            return Decision::SetAside(SetAside { location, content_hash: known_hash, why });
        }
    }
    if location.size > max_size {
        let why = Why::TooLarge { size: location.size, limit: max_size };
        return Decision::SetAside(SetAside { location, content_hash: None, why });
    }
    Decision::Read(ToRead { path, location, known_hash, withheld })
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
        // It could not be read then; who reads it now may be allowed to.
        KnownState::SetAside { reason, .. } if reason == FAILED && content.is_none() => None,
        KnownState::SetAside { node, reason, message } => {
            Some(Why::Before { node, reason, message })
        }
        KnownState::Stale => None,
    }
}
