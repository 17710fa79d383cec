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
mod concurrency;
mod configs;
mod crash;
mod damage;
mod empty_libtorch;
mod export;
mod files;
mod hub;
mod index;
mod inspection;
mod kills;
mod lifecycle;
mod links;
mod malformed_inputs;
mod memory;
mod messages;
mod model;
mod page;
mod permissions;
mod process;
mod prometheus;
mod public_names;
mod qdrant_server;
mod readonly;
mod receiver;
mod reference;
mod reindex;
mod relocated_install;
mod rerank;
mod samples;
mod schedules;
mod scratch;
mod search;
mod secrets;
mod serve;
mod servers;
mod statements;
mod store_contents;
mod support;
mod terminal;
mod tidy;
mod tune;
mod units;
mod upgrade;
mod volume;
mod worker;
