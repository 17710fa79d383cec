//! Tells the planner what a run has written. A table that was filled since the last ANALYZE is planned as if it were
//! empty or as it was then, until autovacuum comes by; a first run ends before that.
//!
//! No hot query depends on it (`hot.rs`): its plan reads what it needs whatever the statistics say. Queries over a whole
//! collection, and how much memory a join is given, do.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AssertSqlSafe, PgPool};

/// Rows after which the tables are analysed for the first time.
const FIRST: u64 = 1_000;
/// Growth after which they are analysed again.
const FACTOR: u64 = 10;
/// Fewer rows than these are not worth a look at the end.
const FEW: u64 = 100;

/// What a run writes to.
const TABLES: &str = "documents, document_locations, document_writes, collection_sources";

/// How many rows a run has written, and when the tables are analysed next.
#[derive(Debug)]
pub(super) struct Growth {
    written: AtomicU64,
    analyzed: AtomicU64,
    next: AtomicU64,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            written: AtomicU64::new(0),
            analyzed: AtomicU64::new(0),
            next: AtomicU64::new(FIRST),
        }
    }
}

impl Growth {
    /// Counts rows that are committed; says whether the tables are to be analysed now.
    fn is_due(&self, rows: usize) -> bool {
        let written = self.written.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let next = self.next.load(Ordering::Relaxed);
        let due = written >= next
            // Of two who see it, one does it.
            && self
                .next
                .compare_exchange(next, written * FACTOR, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if due {
            self.analyzed.store(written, Ordering::Relaxed);
        }
        due
    }

    /// Whether something was written since the tables were analysed last.
    fn is_unfinished(&self) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        let before = self.analyzed.swap(written, Ordering::Relaxed);
        written - before >= FEW
    }

    /// Counts rows that are committed, and analyses the tables when they have grown tenfold.
    pub(super) async fn wrote(&self, pool: &PgPool, rows: usize) {
        if self.is_due(rows) {
            analyze(pool).await;
        }
    }

    /// Analyses the tables at the end of a pass, if something was written since the last time.
    pub(super) async fn ended(&self, pool: &PgPool) {
        if self.is_unfinished() {
            analyze(pool).await;
        }
    }
}

/// Outside of any transaction of the run. A table that somebody else analyses or vacuums at the moment is left out. That
/// it cannot be done, since the tables are somebody else's, is no fault of the run.
async fn analyze(pool: &PgPool) {
    let analyze = AssertSqlSafe(format!("ANALYZE (SKIP_LOCKED) {TABLES}"));
    if let Err(error) = sqlx::raw_sql(analyze).execute(pool).await {
        tracing::debug!(%error, "the tables were not analysed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_analysed_at_tenfold_growth_and_at_the_end() {
        let growth = Growth::default();
        let mut at = Vec::new();
        for row in 1..=150_000_u64 {
            if growth.is_due(1) {
                at.push(row);
            }
        }
        assert_eq!(at, [1_000, 10_000, 100_000]);
        assert!(growth.is_unfinished());
        assert!(!growth.is_unfinished(), "nothing was written since");
        assert!(!growth.is_due(5));
        assert!(!growth.is_unfinished(), "that is not worth it");
    }
}
