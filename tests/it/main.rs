//! The integration tests of the workspace: the command on real files, and rules about the code.
//!
//! They run the built command with the embedded stores and the real model.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic fails the test and shows the location"
)]

mod browser;
mod check;
mod cli;
mod configs;
mod crash;
mod damage;
mod embed;
mod files;
mod find;
mod held;
mod hub;
mod index;
mod kills;
mod lifecycle;
mod memory;
mod messages;
mod model;
mod moved;
mod nasty;
mod one_model;
mod page;
mod private;
mod prometheus;
mod readonly;
mod receiver;
mod reindex;
mod samples;
mod schedules;
mod scratch;
mod secrets;
mod serve;
mod servers;
mod statements;
mod support;
mod telling;
mod terminal;
mod tidy;
mod together;
mod units;
mod volume;
mod worker;
