//! Vector stores: a Qdrant server, Qdrant in this process, and memory, behind the ports of `pipeline`.
//!
//! [`contract`] has what every one of them must do, as functions.

#[cfg(feature = "test-util")]
pub mod contract;
mod edge;
mod memory;
mod payload;
mod qdrant;
mod ranking;
mod shape;

pub use edge::{DamagedFile, EdgeStore, FileFault, is_of_damage};
pub use memory::MemoryVectors;
pub use qdrant::QdrantStore;
