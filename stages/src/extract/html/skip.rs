//! Elements that are left out.

use crate::extract::document::Checkpoint;

/// An element that is left out, until its end.
pub(super) struct Skip {
    pub(super) name: String,
    /// Number of open elements with the same name, this one included.
    pub(super) depth: usize,
    pub(super) kind: SkipKind,
}

impl Skip {
    /// The position where its text begins, if it may be removed.
    pub(super) fn start(&self) -> Option<Checkpoint> {
        match self.kind {
            SkipKind::Ignored => None,
            SkipKind::RolledBack(start) | SkipKind::RolledBackUnlessHeading(start) => Some(start),
        }
    }
}

/// The treatment of the text of a skipped element.
pub(super) enum SkipKind {
    /// Nothing of it is written.
    Ignored,
    /// Its text is written, and removed at its end tag. Without an end tag it was the rest of the
    /// page, and stays.
    RolledBack(Checkpoint),
    /// The same, unless it contains a heading: a `header` may belong to the site or to the content.
    RolledBackUnlessHeading(Checkpoint),
}
