//! A search without the time of the vector store: parsing a filter, fusing, merging and
//! highlighting hits.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use criterion::Criterion;
use pipeline::test_util::{no_resources, payload};
use pipeline::{
    EmbedderOptions, Facet, Filter, IndexQuery, KeywordField, ModelInfo, Payload, Point,
    RankedChunk, StoreError, VectorIndex, point_id,
};
use search::{
    QueryModel, Request, SearchCaches, SearchMode, Searcher, Target, TargetResolver, parse_filter,
};
use serde_json::json;
use uuid::Uuid;

/// Chunks in a store.
const CHUNKS: u32 = 1000;

/// Dimension of the dense vectors.
const DIM: u16 = 64;

const WORDS: [&str; 8] =
    ["lease", "worker", "operation", "vector", "document", "chunk", "schedule", "heartbeat"];

fn content(number: u32) -> String {
    let word = |shift: u32| WORDS[(number.rotate_left(shift) % 8) as usize];
    format!("The {} of a {} precedes the {} {number}.", word(0), word(3), word(7))
}

/// A store that returns the same hits for every query.
struct FixedIndex(Vec<RankedChunk>, HashMap<Uuid, Point>);

#[async_trait]
impl VectorIndex for FixedIndex {
    async fn rank(&self, query: &IndexQuery) -> Result<Vec<RankedChunk>, StoreError> {
        Ok(self.0.iter().take(query.limit).copied().collect())
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        Ok(ids.iter().map(|id| self.1[id].clone()).collect())
    }

    async fn term_counts(&self, terms: &[u32]) -> Result<Vec<u64>, StoreError> {
        Ok(vec![u64::from(CHUNKS); terms.len()])
    }

    async fn facet(
        &self,
        _: KeywordField,
        _: Option<&Filter>,
        _: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        Ok(vec![Facet { value: "en".to_owned(), count: u64::from(CHUNKS) }])
    }

    async fn chunks(&self, _: Uuid, _: u32, _: u32) -> Result<Vec<Payload>, StoreError> {
        Ok(Vec::new())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(u64::from(CHUNKS))
    }

    async fn scroll(&self, _: Option<Uuid>, _: usize) -> Result<Vec<Point>, StoreError> {
        Ok(Vec::new())
    }
}

/// Two collections with the same hits.
struct Collections(Arc<Target>, Arc<Target>);

#[async_trait]
impl TargetResolver for Collections {
    async fn resolve(&self, collection: &str) -> Result<Arc<Target>, pipeline::BoxError> {
        Ok(Arc::clone(if collection == "first" { &self.0 } else { &self.1 }))
    }
}

fn target(name: &str) -> Arc<Target> {
    let points = (0..CHUNKS).map(|number| {
        let payload = payload(&format!("{name}/{number}"), &content(number));
        let id = point_id(payload.document, 0);
        Point { id, vector: vec![0.0; DIM.into()], sparse: None, payload }
    });
    let points: Vec<Point> = points.collect();
    let ranked = (1_u16..).zip(&points).map(|(number, point)| {
        let (id, document) = (point.id, point.payload.document);
        let score = 100.0 / f32::from(number);
        RankedChunk { id, document, chunk_index: 0, score, similarity: None }
    });
    let index = FixedIndex(
        ranked.collect(),
        points.iter().map(|point| (point.id, point.clone())).collect(),
    );
    // A sparse search embeds no query.
    let info = ModelInfo {
        path: "none".into(),
        short_name: "none".to_owned(),
        dim: DIM.into(),
        max_tokens: 1,
        fingerprint: String::new(),
    };
    let options = EmbedderOptions {
        device: "cpu".to_owned(),
        dtype: "auto".to_owned(),
        tokens_per_batch: None,
        dim: None,
    };
    Arc::new(Target {
        collection: Uuid::new_v5(&Uuid::nil(), name.as_bytes()),
        name: name.to_owned(),
        generation: 1,
        store: format!("{name}_g1"),
        model: QueryModel { info, options, models: no_resources().models },
        sparse_encoder: stages::default_sparse_encoder(),
        sparse: true,
        settings: Arc::default(),
        index: Arc::new(index),
        vocabulary: None,
    })
}

fn requests(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let collections = Collections(target("first"), target("second"));
    // Without caches, so that every request is computed.
    let searcher = Searcher::new(SearchCaches::new(0, 0));
    let names = vec!["first".to_owned(), "second".to_owned()];
    let request =
        Request { mode: Some(SearchMode::Sparse), ..Request::new("lease of an operation", names) };
    let grouped = Request { per_document: Some(1), ..request.clone() };
    for (name, request) in [("ten hits", request), ("ten documents", grouped)] {
        criterion.bench_function(&format!("search/{name} of two collections"), |bencher| {
            bencher.iter(|| {
                let results = runtime.block_on(searcher.search(&request, &collections));
                let results = results.expect("the request is valid");
                assert_eq!(results.hits.len(), 10);
                results
            });
        });
    }
}

fn filters(criterion: &mut Criterion) {
    let filter = json!({
        "path": { "glob": ["docs/**/*.{html,md}", "man3/*"] },
        "modified_at": { "gte": "2024-05-31" },
        "or": [{ "language": "en" }, { "metadata": { "author": ["Ada", "Grace"] } }],
    });
    criterion.bench_function("filter/parse", |bencher| {
        bencher.iter(|| parse_filter(black_box(&filter)));
    });
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    filters(&mut criterion);
    requests(&mut criterion);
    criterion.final_summary();
}
