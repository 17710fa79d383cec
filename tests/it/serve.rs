//! The server: the real binary with real stores, tested over HTTP.

mod accounts;
mod audit;
mod beside;
mod browsers;
mod brute_force;
mod client_example;
mod costs;
mod end_to_end;
mod hardening;
mod limits;
mod lists;
mod matrix;
mod readonly;
mod request_heads;
mod search;
pub(crate) mod server;
mod streams;
mod swap;
