//! The schema of the database: its migrations, and the plans of the queries on it.

pub(crate) mod migrations;
pub(crate) mod query_plans;
pub(crate) mod table_statistics;
