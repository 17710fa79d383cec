//! The workspace's integration tests: the command on real files, and rules about the code.
//!
//! They run the built command as a user does, with the embedded stores and the real model.

mod check;
mod cli;
mod configs;
mod crash;
mod index;
mod nasty;
mod secrets;
mod servers;
mod support;
mod tidy;
