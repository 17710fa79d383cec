//! Measures the store without the server: the queries that the server would send, without HTTP and
//! search logic. `benches/load.py` runs it for comparison. It is a benchmark tool without
//! assertions.
//!
//! `bare MODEL DTYPE VECTORS QUESTIONS` opens the embedded store in the folder VECTORS (`-`: no
//! store) and reads a JSON string from each line of QUESTIONS. Commands come from standard input;
//! each is answered with a line of JSON.
//!
//! | command | measures |
//! |---|---|
//! | `ask MODE CONNECTIONS SECONDS FROM` | queries of MODE on so many connections, in order from
//! index FROM |
//! | `write MODE FILE` | nothing; writes the bodies of the same queries for Qdrant's REST API |

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark tool that stops at any error"
)]

use std::fmt::Write as _;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use pipeline::{
    EmbedderOptions, IndexQuery, KeywordField, ModelProvider as _, QueryVectors, SearchAccuracy,
    SparseVector, TextKind, VectorIndex as _, VectorLayout,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vectors::EdgeStore;

/// The server requests this many for a page of ten: one more shows whether there is a next page.
const HITS: usize = 11;

/// The server reads this many hits of each ranking.
const CANDIDATES: usize = 100;

struct Bare {
    store: Option<EdgeStore>,
    questions: Vec<(Vec<f32>, SparseVector)>,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, dtype, vectors, questions] = &arguments[..] else {
        panic!("bare MODEL DTYPE VECTORS QUESTIONS")
    };
    let bare = Arc::new(Bare::new(Path::new(model), dtype, vectors, questions).await);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["ask", mode, connections, seconds, from] => {
                let seconds = Duration::from_secs_f64(seconds.parse().unwrap());
                bare.ask(mode, connections.parse().unwrap(), seconds, from.parse().unwrap()).await
            }
            ["write", mode, file] => bare.write(mode, file),
            _ => panic!("unknown command `{line}`"),
        };
        println!("{answer}");
    }
}

impl Bare {
    async fn new(model: &Path, dtype: &str, vectors: &str, questions: &str) -> Self {
        let engine = embedding::EmbeddingEngine::new();
        let options = EmbedderOptions {
            device: "auto".to_owned(),
            dtype: dtype.to_owned(),
            tokens_per_batch: None,
            dim: None,
        };
        let embedder = engine.embedder(model, &options).unwrap();
        let tokenizer = engine.tokenizer(model).unwrap();
        let dim = embedder.info().dim;
        let store = (vectors != "-").then(|| {
            let name = Path::new(vectors).file_name().unwrap().to_str().unwrap();
            let mut config = VectorLayout::default().config(name, dim);
            config.sparse = true;
            EdgeStore::open(Path::new(vectors), &config).unwrap()
        });
        let languages = match &store {
            Some(store) => store.facet(KeywordField::Language, None, 8).await.unwrap(),
            None => Vec::new(),
        };
        let languages: Vec<String> = languages.into_iter().map(|facet| facet.value).collect();
        let lines = fs_err::read_to_string(questions).unwrap();
        let texts: Vec<String> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let readings: Vec<_> =
            texts.iter().map(|it| tokenizer.encode_input(it, TextKind::Query).unwrap()).collect();
        let ids: Vec<&[u32]> = readings.iter().map(|it| &*it.ids).collect();
        let dense = embedder.embed(&ids).unwrap();
        let words = stages::default_sparse_encoder();
        let sparse = texts.iter().map(|text| words.encode_query(text, &languages));
        let questions = dense.chunks(dim).map(<[f32]>::to_vec).zip(sparse).collect();
        Self { store, questions }
    }

    /// The queries for the rankings of a mode.
    fn queries(&self, mode: &str, at: usize) -> Vec<IndexQuery> {
        let (dense, words) = self.questions[at % self.questions.len()].clone();
        let by_meaning = QueryVectors::Dense(dense.clone());
        let by_words = |dense| QueryVectors::Sparse { sparse: words.clone(), dense };
        let rankings = match mode {
            "dense" => vec![by_meaning],
            "sparse" => vec![by_words(None)],
            "hybrid" => vec![by_meaning, by_words(Some(dense))],
            _ => panic!("invalid mode `{mode}`: expected dense, sparse or hybrid"),
        };
        let query = |vectors| IndexQuery {
            vectors,
            ..IndexQuery::nearest(&[], CANDIDATES, SearchAccuracy::Approximate)
        };
        rankings.into_iter().map(query).collect()
    }

    /// Reads the rankings of a mode, and the points of a page of one of them.
    async fn search(&self, mode: &str, at: usize) {
        let store = self.store.as_ref().expect("a store was given");
        let queries = self.queries(mode, at);
        let rankings = join_all(queries.iter().map(|query| store.rank(query))).await;
        let first = rankings.into_iter().next().expect("there is a ranking").unwrap();
        let ids: Vec<_> = first.iter().take(HITS).map(|chunk| chunk.id).collect();
        drop(store.fetch(&ids).await.unwrap());
    }

    async fn ask(
        self: &Arc<Self>,
        mode: &str,
        connections: usize,
        seconds: Duration,
        from: usize,
    ) -> Value {
        let next = Arc::new(AtomicUsize::new(from));
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let (bare, next, mode) = (Arc::clone(self), Arc::clone(&next), mode.to_owned());
            clients.spawn(async move {
                let mut took = Vec::new();
                while began.elapsed() < seconds {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let asked = Instant::now();
                    bare.search(&mode, at).await;
                    took.push(asked.elapsed().as_secs_f64() * 1e3);
                }
                took
            });
        }
        let mut took = clients.join_all().await.concat();
        let whole = began.elapsed().as_secs_f64();
        took.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index in a list"
            )]
            let place = (share * took.len() as f64) as usize;
            took[place.min(took.len() - 1)]
        };
        let count = took.len();
        #[expect(clippy::cast_precision_loss, reason = "a count of queries")]
        let rate = count as f64 / whole;
        json!({ "count": count, "rate": rate, "p50": at(0.5), "p95": at(0.95), "p99": at(0.99) })
    }

    /// The same queries as bodies of Qdrant's REST API.
    fn write(&self, mode: &str, file: &str) -> Value {
        let mut lines = String::new();
        for (dense, SparseVector { indices, values }) in &self.questions {
            let words = json!({ "indices": indices, "values": values });
            let leg = |query: Value, using: &str| json!({ "query": query, "using": using, "limit": CANDIDATES });
            let mut body = match mode {
                "dense" => json!({ "query": dense, "using": "dense" }),
                "sparse" => json!({ "query": words, "using": "sparse" }),
                _ => {
                    let legs = [leg(json!(dense), "dense"), leg(words, "sparse")];
                    json!({ "prefetch": legs, "query": { "fusion": "rrf" } })
                }
            };
            body["limit"] = HITS.into();
            body["with_payload"] = true.into();
            writeln!(lines, "{body}").unwrap();
        }
        fs_err::write(file, lines).unwrap();
        json!({ "written": self.questions.len() })
    }
}
