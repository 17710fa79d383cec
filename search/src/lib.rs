//! Search over the ports: it reads vectors and metadata, and writes neither.

mod blocking;
pub mod http;
mod query;

pub use query::{Query, SearchError, search};
