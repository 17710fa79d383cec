//! The server: the real binary over real stores, asked over HTTP as a client does.

mod accounts;
mod audit;
mod browsers;
mod hardening;
mod limits;
mod lists;
mod matrix;
mod searching;
pub(crate) mod server;
mod swap;
mod working;
