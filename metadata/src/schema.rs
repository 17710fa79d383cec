//! The schema of the database: its migrations, and the plans of the queries on it.

pub(crate) mod downgrade;
pub(crate) mod migrations;
#[cfg(feature = "test-util")]
pub(crate) mod query_plans;
pub(crate) mod table_statistics;
