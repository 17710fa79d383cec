//! Tests that use libtorch in their own process. Others do not link it, because loading it takes
//! longer than most tests.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic fails the test and shows the location"
)]

mod embed;
#[path = "../it/process.rs"]
mod process;
mod single_model;
