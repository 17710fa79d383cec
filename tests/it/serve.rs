//! The server: the real binary with real stores, tested over HTTP.

mod accounts;
mod audit;
mod beside;
mod browsers;
mod costs;
mod guessing;
mod hardening;
mod heads;
mod limits;
mod lists;
mod matrix;
mod readonly;
mod searching;
pub(crate) mod server;
mod streams;
mod swap;
mod working;
