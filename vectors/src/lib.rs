//! Vector stores behind the ports of `pipeline`: a Qdrant server, embedded Qdrant Edge, and memory.
//!
//! `contract` holds the tests that every store must pass, as functions.

#[cfg(feature = "test-util")]
pub mod contract;
mod edge;
mod memory;
mod page;
mod payload;
mod qdrant;
mod ranking;
mod shape;

pub use edge::{DamagedFile, EdgeStore, FileFault, is_damage_error};
pub use memory::MemoryVectors;
pub use qdrant::QdrantStore;
