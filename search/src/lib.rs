//! Search over the ports. Reads vectors, and writes neither vectors nor metadata.
//!
//! A [`Searcher`] sends a [`Request`] to the [`Target`]s that it names and combines their hits into
//! one [`SearchResults`]. `docs/search.md` describes requests, docs/adr/0013-hybrid-search.md and
//! 0039-ranking-in-the-search.md the design.
//!
//! ```
//! use std::sync::Arc;
//!
//! use pipeline::test_util::{no_resources, payload};
//! use pipeline::{EmbedderOptions, ModelInfo, Passage, Point, VectorStore as _, point_id};
//! use search::{QueryModel, Request, SearchMode, Searcher, Target};
//! use vectors::MemoryVectors;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), pipeline::BoxError> {
//! let sparse_encoder = stages::default_sparse_encoder();
//! let store = MemoryVectors::with_sparse(1);
//! let passages = [("oak", "Oaks live for centuries."), ("birch", "Birches die young.")];
//! let points = passages.map(|(name, text)| {
//!     let payload = payload(name, text);
//!     let sparse = Some(sparse_encoder.encode_document(&Passage::of_payload(&payload)));
//!     Point { id: point_id(payload.document, 0), vector: vec![1.0], sparse, payload }
//! });
//! store.upsert(points.to_vec()).await?;
//!
//! // A sparse search needs no model.
//! # let info = ModelInfo {
//! #     path: "none".into(),
//! #     short_name: "none".to_owned(),
//! #     dim: 1,
//! #     max_tokens: 1,
//! #     fingerprint: String::new(),
//! # };
//! # let options = EmbedderOptions {
//! #     device: "cpu".to_owned(),
//! #     dtype: "auto".to_owned(),
//! #     tokens_per_batch: None,
//! #     dim: None,
//! # };
//! # let model = QueryModel { info, options, models: no_resources().models };
//! let target = Arc::new(Target {
//!     collection: uuid::Uuid::nil(),
//!     name: "trees".to_owned(),
//!     generation: 1,
//!     store: "trees_g1".to_owned(),
//!     model,
//!     sparse_encoder,
//!     sparse: true,
//!     settings: Arc::default(),
//!     index: Arc::new(store),
//!     vocabulary: None,
//! });
//! let request = Request::new("how long does an oak live", vec!["trees".to_owned()]);
//! let request = Request { mode: Some(SearchMode::Sparse), ..request };
//! let results = Searcher::default().search(&request, &target).await?;
//! let hit = &results.hits[0];
//! assert_eq!((results.hits.len(), &*hit.payload.uri), (1, "file:///corpus/oak"));
//! let content = &hit.payload.content;
//! let words: Vec<&str> = hit.highlights.iter().map(|range| &content[range.clone()]).collect();
//! assert_eq!(words, ["Oaks", "live"]);
//! # Ok(())
//! # }
//! ```

pub mod blocking;
mod caches;
mod collection_search;
pub mod cost;
mod cursor;
pub mod evaluation;
mod exact_terms;
mod explain;
mod fields;
mod filter;
mod flow;
mod glob;
mod highlight;
mod merge;
pub mod metrics;
mod noise_floor;
mod phrase;
mod points;
mod query_batcher;
mod ranking;
mod request;
mod reranking;
mod results;
mod searcher;
mod settings;
mod store_query;
mod target;
pub mod title;
pub mod tuning;
mod vocabulary;

pub use caches::SearchCaches;
pub use cost::COST_BUDGET;
pub use filter::{FACET_FIELDS, FilterError, parse_filter, pattern_bytes};
pub use glob::{PatternFilter, Patterns};
pub use metrics::SearchMetrics;
pub use ranking::{Candidate, Explanation, Freshness, Fusion, Leg, Proximity};
pub use request::{InvalidRequest, Request, SearchMode};
pub use reranking::{RerankOverride, RerankSettings};
pub use results::{CollectionFailure, CollectionResult, MergedHit, SearchResults, Timings};
pub use searcher::{SearchError, Searcher};
pub use settings::{SearchSettings, SettingsOverrides};
pub use target::{QueryModel, Target, TargetResolver};
pub use vocabulary::Correction;
