//! Runs ANALYZE for tables that a run has filled. Until autovacuum processes such a table, the
//! planner assumes it is empty or has its earlier size; a first run ends before that.
//!
//! No hot query depends on the statistics (`query_plans.rs`): its plan reads only the needed rows
//! regardless of them. Queries over a whole collection and the memory of joins do depend on them.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AssertSqlSafe, PgPool};

/// Number of rows before the first ANALYZE.
const FIRST_ANALYZE_ROWS: u64 = 1_000;
/// Growth factor between two runs of ANALYZE.
const GROWTH_FACTOR: u64 = 10;
/// Number of new rows below which the ANALYZE at the end of a run is skipped.
const MIN_ROWS: u64 = 100;

/// The tables that a run writes to.
const TABLES: &str = "documents, document_locations, document_writes, collection_sources";

/// Number of rows written by a run, and the number that triggers the next ANALYZE.
#[derive(Debug)]
pub(crate) struct StatisticsUpdater {
    written: AtomicU64,
    analyzed: AtomicU64,
    next: AtomicU64,
}

impl Default for StatisticsUpdater {
    fn default() -> Self {
        Self {
            written: AtomicU64::new(0),
            analyzed: AtomicU64::new(0),
            next: AtomicU64::new(FIRST_ANALYZE_ROWS),
        }
    }
}

impl StatisticsUpdater {
    /// Counts committed rows; `true` if the tables are to be analysed now.
    fn is_due(&self, rows: usize) -> bool {
        let written = self.written.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let next = self.next.load(Ordering::Relaxed);
        let due = written >= next
            // Of two concurrent callers one succeeds.
            && self
                .next
                .compare_exchange(next, written * GROWTH_FACTOR, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if due {
            self.analyzed.store(written, Ordering::Relaxed);
        }
        due
    }

    /// `true` if at least [`MIN_ROWS`] rows were written since the last ANALYZE.
    fn has_unanalyzed_rows(&self) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        let before = self.analyzed.swap(written, Ordering::Relaxed);
        written - before >= MIN_ROWS
    }

    /// Counts committed rows and analyses the tables when they have grown tenfold.
    pub(crate) async fn add_rows(&self, pool: &PgPool, rows: usize) {
        if self.is_due(rows) {
            analyze(pool).await;
        }
    }

    /// Analyses the tables at the end of a run if rows were written since the last ANALYZE.
    pub(crate) async fn finish(&self, pool: &PgPool) {
        if self.has_unanalyzed_rows() {
            analyze(pool).await;
        }
    }
}

/// Runs outside the transactions of the run. Skips a table that another session analyses or
/// vacuums. A failure, for example because another role owns the tables, does not fail the run.
async fn analyze(pool: &PgPool) {
    let analyze = AssertSqlSafe(format!("ANALYZE (SKIP_LOCKED) {TABLES}"));
    if let Err(error) = sqlx::raw_sql(analyze).execute(pool).await {
        tracing::debug!(%error, "failed to analyse the tables");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_analysed_at_tenfold_growth_and_at_the_end() {
        let growth = StatisticsUpdater::default();
        let mut at = Vec::new();
        for row in 1..=150_000_u64 {
            if growth.is_due(1) {
                at.push(row);
            }
        }
        assert_eq!(at, [1_000, 10_000, 100_000]);
        assert!(growth.has_unanalyzed_rows());
        assert!(!growth.has_unanalyzed_rows(), "no row was written since");
        assert!(!growth.is_due(5));
        assert!(!growth.has_unanalyzed_rows(), "too few rows");
    }
}
