//! Search over the ports. Reads vectors, and writes neither vectors nor metadata.
//!
//! A [`Searcher`] sends a [`Request`] to the [`Target`]s that it names and combines their hits into
//! one [`SearchResults`]. `docs/search.md` describes requests, docs/adr/0013-hybrid-search.md the
//! design.

pub mod blocking;
mod caches;
mod collection_search;
pub mod cost;
mod cursor;
pub mod evaluation;
mod fields;
mod filter;
mod glob;
mod highlight;
mod merge;
pub mod metrics;
mod query_batcher;
mod request;
mod results;
mod searcher;
mod target;
pub mod title;

pub use caches::SearchCaches;
pub use cost::COST_BUDGET;
pub use filter::{FACET_FIELDS, FilterError, parse_filter, pattern_bytes};
pub use glob::{PatternFilter, Patterns};
pub use metrics::SearchMetrics;
pub use request::{InvalidRequest, Request, SearchMode};
pub use results::{CollectionFailure, CollectionResult, MergedHit, SearchResults, Timings};
pub use searcher::{SearchError, Searcher};
pub use target::{QueryModel, Target, TargetResolver};
