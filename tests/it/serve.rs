//! The server: the real binary over real stores, asked over HTTP as a client does.

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
