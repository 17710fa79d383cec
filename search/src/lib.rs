//! Search over the ports: it reads vectors and metadata, and writes neither.
//!
//! A [`Request`] goes to a [`Searcher`], which asks the [`Target`]s that it names and makes one [`Answer`] of what
//! they say. `docs/search.md` tells what requests mean; docs/adr/0013-hybrid-search.md why it is so.

mod answer;
pub mod blocking;
mod caches;
pub mod cost;
mod cursor;
pub mod evaluation;
mod filter;
mod glob;
mod merge;
pub mod metrics;
mod questions;
mod request;
mod searcher;
mod target;
pub mod title;
mod wildcards;

pub use answer::{Answer, Failure, SearchHit, Searched, Timings};
pub use caches::Caches;
pub use cost::BUDGET;
pub use filter::{Condition, FACETS, FilterError};
pub use glob::Patterns;
pub use metrics::SearchMetrics;
pub use request::{Invalid, Mode, Request};
pub use searcher::{SearchError, Searcher};
pub use target::{Model, Resolve, Target};
