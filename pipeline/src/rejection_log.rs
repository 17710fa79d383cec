//! The most recent rejections of a run.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::report::RejectionReport;

/// Maximum number of recent rejections.
const MAX_RECENT_REJECTIONS: usize = 20;

/// The most recent rejections of a run, for its observers. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct RejectionLog(Arc<Mutex<VecDeque<RejectionReport>>>);

impl RejectionLog {
    /// Adds a rejection and drops the oldest beyond the limit.
    pub(crate) fn push(&self, document: RejectionReport) {
        let mut last = lock(&self.0);
        if last.len() == MAX_RECENT_REJECTIONS {
            last.pop_front();
        }
        last.push_back(document);
    }

    /// The most recent rejections, oldest first.
    pub fn recent(&self) -> Vec<RejectionReport> {
        lock(&self.0).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feed_keeps_the_last() {
        let feed = RejectionLog::default();
        for n in 0..50 {
            feed.push(RejectionReport { uri: n.to_string(), ..RejectionReport::default() });
        }
        let last: Vec<String> = feed.recent().into_iter().map(|it| it.uri).collect();
        assert_eq!((last.len(), last[0].as_str(), last[19].as_str()), (20, "30", "49"));
    }
}
