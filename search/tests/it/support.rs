//! Collections in memory, with a model that counts its calls.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::FutureExt as _;
use pipeline::{
    BoxError, Embedder, EmbedderOptions, EmbedderUsage, EncodedInput, Facet, Filter, IndexQuery,
    KeywordField, MemoryVocabulary, ModelInfo, ModelProvider, Passage, Payload, Point, RankedChunk,
    StoreError, TextKind, TokenizedText, Tokenizer, VectorIndex, VectorStore as _, Vocabulary,
    point_id,
};
use search::{QueryModel, Request, SearchResults, Searcher, Target, TargetResolver};
use uuid::Uuid;
use vectors::MemoryVectors;

/// A model whose vectors are sums of word vectors, so texts with common words are similar. Queries
/// and passages have different prefixes.
pub(crate) struct ToyEmbedder {
    info: ModelInfo,
    calls: AtomicUsize,
    queries: AtomicUsize,
}

pub(crate) const DIM: usize = 16;
const QUERY: &str = "query:";
const PASSAGE: &str = "passage:";

impl ToyEmbedder {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        let info = ModelInfo {
            path: name.into(),
            short_name: name.to_owned(),
            dim: DIM,
            max_tokens: 512,
            fingerprint: name.to_owned(),
        };
        Arc::new(Self { info, calls: AtomicUsize::new(0), queries: AtomicUsize::new(0) })
    }

    /// Number of calls and of embedded queries.
    pub(crate) fn call_counts(&self) -> (usize, usize) {
        (self.calls.load(Ordering::SeqCst), self.queries.load(Ordering::SeqCst))
    }

    /// The vector of a passage.
    pub(crate) fn passage(&self, text: &str) -> Vec<f32> {
        self.vector(&ids(&format!("{PASSAGE} {text}")))
    }

    fn vector(&self, ids: &[u32]) -> Vec<f32> {
        let mut vector = vec![0.0; DIM];
        for id in ids {
            // The model is part of the direction of a word, so each model has its own vector space.
            let mut state = u64::from(*id) << 8 | self.info.path.as_os_str().len() as u64;
            for number in &mut vector {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                *number += f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0;
            }
        }
        vector
    }
}

/// Token ids: a hash of each word, then the prefix.
fn ids(text: &str) -> Vec<u32> {
    let words = text.split_whitespace().filter(|word| !word.ends_with(':'));
    let id = |word: &str| word.bytes().fold(7_u32, |id, b| id.wrapping_mul(31) + u32::from(b));
    let prefix = u32::from(text.starts_with(QUERY)) + 1;
    words.map(|word| id(&word.to_lowercase())).chain([prefix]).collect()
}

/// Provides its one model.
pub(crate) struct OneModel(pub(crate) Arc<ToyEmbedder>);

impl ModelProvider for OneModel {
    fn describe(&self, _: &Path) -> Result<ModelInfo, BoxError> {
        Ok(self.0.info.clone())
    }

    fn tokenizer(&self, _: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        Ok(Arc::clone(&self.0) as _)
    }

    fn embedder(&self, _: &Path, _: &EmbedderOptions) -> Result<Arc<dyn Embedder>, BoxError> {
        Ok(Arc::clone(&self.0) as _)
    }
}

impl Tokenizer for ToyEmbedder {
    fn encode(&self, text: &str) -> Result<TokenizedText, BoxError> {
        Ok(TokenizedText { ids: ids(text), ..TokenizedText::default() })
    }

    fn add_special_tokens(&self, ids: &[u32]) -> Vec<u32> {
        ids.to_vec()
    }

    fn num_added_tokens(&self) -> usize {
        1
    }

    fn encode_input(&self, text: &str, kind: TextKind) -> Result<EncodedInput, BoxError> {
        let prefix = if kind == TextKind::Query { QUERY } else { PASSAGE };
        Ok(EncodedInput { ids: ids(&format!("{prefix} {text}")), truncated: false })
    }

    fn max_tokens(&self) -> usize {
        512
    }
}

impl Embedder for ToyEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.queries.fetch_add(sequences.len(), Ordering::SeqCst);
        // Long enough for concurrent requests to queue.
        std::thread::sleep(std::time::Duration::from_millis(20));
        Ok(sequences.iter().flat_map(|ids| self.vector(ids)).collect())
    }

    fn usage(&self) -> EmbedderUsage {
        EmbedderUsage::default()
    }
}

/// The path of a document, and its chunks.
pub(crate) type Document<'a> = (&'a str, &'a [&'a str]);

/// A collection in memory.
pub(crate) struct MemoryCollection {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) generation: i32,
    pub(crate) model: Arc<ToyEmbedder>,
    pub(crate) sparse: bool,
    pub(crate) points: Vec<Point>,
    pub(crate) vocabulary: Arc<dyn Vocabulary>,
}

impl MemoryCollection {
    pub(crate) fn new(name: &str, model: &Arc<ToyEmbedder>) -> Self {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
        let (generation, sparse) = (1, true);
        let (name, model) = (name.to_owned(), Arc::clone(model));
        Self {
            name,
            id,
            generation,
            model,
            sparse,
            points: Vec::new(),
            vocabulary: Arc::new(MemoryVocabulary::default()),
        }
    }

    pub(crate) fn with_documents(mut self, documents: &[Document<'_>]) -> Self {
        let words = stages::default_sparse_encoder();
        let mut vocabulary = Vec::new();
        for (path, chunks) in documents {
            let document = Uuid::new_v5(&self.id, path.as_bytes());
            for (index, text) in (0..).zip(*chunks) {
                let passage = Passage::of_text(text, Some("en"));
                stages::vocabulary_words(&passage, &mut |word| vocabulary.push(word.to_owned()));
                let sparse = self.sparse.then(|| words.encode_document(&passage));
                self.points.push(Point {
                    id: point_id(document, index),
                    vector: self.model.passage(text),
                    sparse,
                    payload: Payload {
                        collection: self.id,
                        document,
                        chunk_index: index,
                        content: (*text).to_owned(),
                        uri: format!("file:///corpus/{path}"),
                        source: "file:///corpus".to_owned(),
                        mime_type: "text/plain".to_owned(),
                        title: None,
                        language: Some("en".to_owned()),
                        headings: None,
                        page: None,
                        start: 0,
                        end: text.len() as u64,
                        modified_at: None,
                        facts: vec![format!("folder={}", path.split('/').next().unwrap())],
                    },
                });
            }
        }
        // A vocabulary in memory is never pending.
        self.vocabulary.add(&vocabulary).now_or_never().unwrap().unwrap();
        self
    }

    pub(crate) async fn target(&self) -> Arc<Target> {
        let vectors =
            if self.sparse { MemoryVectors::with_sparse(DIM) } else { MemoryVectors::new(DIM) };
        vectors.upsert(self.points.clone()).await.unwrap();
        self.target_with(Arc::new(vectors))
    }

    pub(crate) fn target_with(&self, index: Arc<dyn VectorIndex>) -> Arc<Target> {
        let options = EmbedderOptions {
            device: "cpu".to_owned(),
            dtype: "auto".to_owned(),
            tokens_per_batch: None,
            dim: None,
        };
        Arc::new(Target {
            collection: self.id,
            name: self.name.clone(),
            generation: self.generation,
            store: format!("{}_g{}", self.name, self.generation),
            model: QueryModel {
                info: self.model.info.clone(),
                options,
                models: Arc::new(OneModel(Arc::clone(&self.model))),
            },
            sparse_encoder: stages::default_sparse_encoder(),
            sparse: self.sparse,
            settings: Arc::default(),
            index,
            vocabulary: Some(Arc::clone(&self.vocabulary)),
        })
    }
}

/// Collections by name. Several targets of one name are returned one after the other, the last one
/// repeatedly.
#[derive(Default)]
pub(crate) struct MemoryResolver(Mutex<HashMap<String, Vec<Arc<Target>>>>);

impl MemoryResolver {
    pub(crate) fn of(targets: Vec<Arc<Target>>) -> Self {
        let library = Self::default();
        for target in targets {
            library.0.lock().unwrap().entry(target.name.clone()).or_default().push(target);
        }
        library
    }
}

#[async_trait]
impl TargetResolver for MemoryResolver {
    async fn resolve(&self, collection: &str) -> Result<Arc<Target>, BoxError> {
        let mut shelves = self.0.lock().unwrap();
        let generations = shelves
            .get_mut(collection)
            .ok_or_else(|| format!("unknown collection `{collection}`"))?;
        // The first one is live until it was resolved once.
        let live = Arc::clone(&generations[0]);
        if generations.len() > 1 {
            generations.remove(0);
        }
        Ok(live)
    }
}

/// A store whose queries fail.
pub(crate) struct FailingIndex;

#[async_trait]
impl VectorIndex for FailingIndex {
    async fn rank(&self, _: &IndexQuery) -> Result<Vec<RankedChunk>, StoreError> {
        Err(store_error())
    }

    async fn fetch(&self, _: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        Err(store_error())
    }

    async fn term_counts(&self, _: &[u32]) -> Result<Vec<u64>, StoreError> {
        Err(store_error())
    }

    async fn facet(
        &self,
        _: KeywordField,
        _: Option<&Filter>,
        _: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        Ok(Vec::new())
    }

    async fn chunks(&self, _: Uuid, _: u32, _: u32) -> Result<Vec<Payload>, StoreError> {
        Err(store_error())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Err(store_error())
    }

    async fn scroll(&self, _: Option<Uuid>, _: usize) -> Result<Vec<Point>, StoreError> {
        Err(store_error())
    }
}

fn store_error() -> StoreError {
    let remedy = pipeline::Remedy::Retry;
    StoreError { doing: "search vectors", remedy, source: "the disk is on fire".into() }
}

/// Searches one collection.
pub(crate) async fn search_one(shelf: &MemoryCollection, request: Request) -> SearchResults {
    let library = MemoryResolver::of(vec![shelf.target().await]);
    let request = Request { collections: vec![shelf.name.clone()], ..request };
    let answer = Searcher::default().search(&request, &library).await.unwrap();
    assert_eq!(answer.failed, []);
    answer
}

/// The paths of the hits, relative to the corpus.
pub(crate) fn paths(answer: &SearchResults) -> Vec<&str> {
    let path = |uri: &'_ str| uri.len() - uri.trim_start_matches("file:///corpus/").len();
    answer.hits.iter().map(|hit| &hit.payload.uri[path(&hit.payload.uri)..]).collect()
}

pub(crate) fn query(text: &str) -> Request {
    Request::new(text, Vec::new())
}
