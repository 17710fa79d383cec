//! A search without the time of the vector store: parsing a filter, merging and highlighting hits;
//! and the fusion of two rankings in the reference store.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use criterion::Criterion;
use pipeline::test_util::{no_resources, payload};
use pipeline::{
    EmbedderOptions, Facet, Filter, Fusion, Hit, IndexQuery, KeywordField, ModelInfo, Passage,
    Payload, Point, QueryVectors, SearchAccuracy, StoreError, VectorIndex, VectorStore as _,
    point_id,
};
use search::{
    QueryModel, Request, SearchCaches, SearchMode, Searcher, Target, TargetResolver, parse_filter,
};
use serde_json::json;
use uuid::Uuid;
use vectors::MemoryVectors;

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
struct FixedIndex(Vec<Hit>);

#[async_trait]
impl VectorIndex for FixedIndex {
    async fn query(&self, query: &IndexQuery) -> Result<Vec<Hit>, StoreError> {
        Ok(self.0.iter().take(query.limit).cloned().collect())
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
    let hits = (0..CHUNKS).map(|number| {
        let payload = payload(&format!("{name}/{number}"), &content(number));
        Hit { score: 100.0 / one_based(number), similarity: None, payload }
    });
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
        index: Arc::new(FixedIndex(hits.collect())),
    })
}

/// The number of a chunk, from 1, as a float.
fn one_based(number: u32) -> f32 {
    f32::from(u16::try_from(number + 1).expect("there are few chunks"))
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

fn fusion(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let encoder = stages::default_sparse_encoder();
    let dense = |number: u32| -> Vec<f32> {
        (1..=DIM).map(|at| (one_based(number) * f32::from(at)).sin()).collect()
    };
    let points = (0..CHUNKS).map(|number| {
        let payload = payload(&number.to_string(), &content(number));
        let sparse = Some(encoder.encode_document(&Passage::of_payload(&payload)));
        Point { id: point_id(payload.document, 0), vector: dense(number), sparse, payload }
    });
    let store = MemoryVectors::with_sparse(DIM.into());
    runtime.block_on(store.upsert(points.collect())).expect("the points are valid");
    let query = IndexQuery {
        vectors: QueryVectors::Hybrid {
            dense: dense(7),
            sparse: encoder.encode_query("lease of an operation", &[]),
            fusion: Fusion::default(),
        },
        ..IndexQuery::nearest(&[], 10, SearchAccuracy::Exact)
    };
    criterion.bench_function("fusion/two rankings of 1000 chunks in memory", |bencher| {
        bencher.iter(|| runtime.block_on(store.query(&query)));
    });
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(500));
    let mut criterion = criterion.measurement_time(Duration::from_secs(2)).configure_from_args();
    filters(&mut criterion);
    requests(&mut criterion);
    fusion(&mut criterion);
    criterion.final_summary();
}
