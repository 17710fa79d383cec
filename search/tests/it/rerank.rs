//! Reranking: order, scores, limits, overrides by a request.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pipeline::{
    BoxError, Embedder, EmbedderOptions, EmbedderUsage, ModelInfo, ModelProvider, Reranker,
    RerankerInfo, RerankerOptions, Tokenizer,
};
use search::{
    Request, RerankOverride, RerankSettings, SearchMode, SearchResults, SearchSettings, Searcher,
    Target,
};

use crate::support::{
    MemoryCollection, MemoryResolver, OneModel, ToyEmbedder, paths, query, search_one,
};

/// Scores a passage by the number of its letters `z`, at most `most` passages of a call.
struct ToyReranker {
    info: RerankerInfo,
    most: usize,
    calls: AtomicUsize,
}

impl Reranker for ToyReranker {
    fn info(&self) -> &RerankerInfo {
        &self.info
    }

    fn score(
        &self,
        query: &str,
        passages: &[&str],
        _: Instant,
    ) -> Result<Vec<Option<f32>>, BoxError> {
        assert_eq!(query, "birds of the north");
        self.calls.fetch_add(1, Ordering::SeqCst);
        let score = |(nth, passage): (usize, &&str)| {
            (nth < self.most).then(|| passage.matches('z').count() as f32 - 3.0)
        };
        Ok(passages.iter().enumerate().map(score).collect())
    }

    fn usage(&self) -> EmbedderUsage {
        EmbedderUsage::default()
    }
}

/// Provides a reranker by the name `toy`, and no other.
struct Models {
    embedders: OneModel,
    reranker: Arc<ToyReranker>,
}

impl ModelProvider for Models {
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
        self.embedders.describe(model)
    }

    fn tokenizer(&self, model: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        self.embedders.tokenizer(model)
    }

    fn embedder(
        &self,
        model: &Path,
        options: &EmbedderOptions,
    ) -> Result<Arc<dyn Embedder>, BoxError> {
        self.embedders.embedder(model, options)
    }

    fn reranker(&self, model: &Path, _: &RerankerOptions) -> Result<Arc<dyn Reranker>, BoxError> {
        if model != Path::new("toy") {
            return Err(format!("no model in {}", model.display()).into());
        }
        Ok(Arc::clone(&self.reranker) as _)
    }
}

struct Shelf {
    target: Arc<Target>,
    reranker: Arc<ToyReranker>,
    searcher: Searcher,
}

/// Four passages. The reranker prefers the last ones, and scores at most `most` of them in time.
async fn shelf(settings: Option<RerankSettings>, most: usize) -> Shelf {
    let model = ToyEmbedder::new("toy");
    let collection = MemoryCollection::new("shelf", &model).with_documents(&[
        ("0.txt", &["birds of the north fly far"]),
        ("1.txt", &["birds of the north z eat fish and seeds"]),
        ("2.txt", &["birds of the z z line carry guns and other things"]),
        ("3.txt", &["birds z z z are eaten by the crew of a ship that sails far"]),
    ]);
    let reranker = Arc::new(ToyReranker {
        info: RerankerInfo {
            path: "toy".into(),
            short_name: "toy".to_owned(),
            max_tokens: 64,
            fingerprint: "1".to_owned(),
        },
        most,
        calls: AtomicUsize::new(0),
    });
    let mut target = Arc::into_inner(collection.target().await).unwrap();
    target.settings = Arc::new(SearchSettings { rerank: settings, ..SearchSettings::default() });
    target.model.models =
        Arc::new(Models { embedders: OneModel(model), reranker: Arc::clone(&reranker) });
    Shelf { target: Arc::new(target), reranker, searcher: Searcher::default() }
}

impl Shelf {
    async fn search(&self, request: Request) -> SearchResults {
        let library = MemoryResolver::of(vec![Arc::clone(&self.target)]);
        let request = Request { collections: vec!["shelf".to_owned()], ..request };
        self.searcher.search(&request, &library).await.unwrap()
    }

    fn calls(&self) -> usize {
        self.reranker.calls.load(Ordering::SeqCst)
    }
}

fn toy(candidates: usize) -> RerankSettings {
    RerankSettings {
        model: "toy".into(),
        device: "auto".to_owned(),
        dtype: "auto".to_owned(),
        candidates,
        budget: Duration::from_millis(500),
    }
}

fn with(rerank: RerankOverride) -> Request {
    let mut request = query("birds of the north");
    request.overrides.rerank = Some(rerank);
    request
}

fn on(model: Option<&str>, candidates: Option<usize>) -> RerankOverride {
    RerankOverride::On { model: model.map(Into::into), candidates, budget: None }
}

#[tokio::test]
async fn the_score_of_the_reranker_ranks_and_is_shown_in_every_mode() {
    let shelf = shelf(Some(toy(20)), usize::MAX).await;
    for mode in [SearchMode::Dense, SearchMode::Sparse, SearchMode::Hybrid] {
        let request = Request { mode: Some(mode), ..query("birds of the north") };
        let answer = shelf.search(request).await;
        assert_eq!(answer.failed, []);
        assert_eq!(paths(&answer), ["3.txt", "2.txt", "1.txt", "0.txt"], "{mode}");
        let scores: Vec<f32> = answer.hits.iter().map(|hit| hit.score).collect();
        assert_eq!(scores, [0.0, -1.0, -2.0, -3.0]);
        assert!(answer.timings.rerank > Duration::ZERO);
        assert!(answer.timings.total >= answer.timings.rerank);
    }
}

#[tokio::test]
async fn candidates_beyond_the_number_or_the_time_follow_in_their_order() {
    let plain = shelf(None, 0).await.search(query("birds of the north")).await;
    assert_eq!(plain.timings.rerank, Duration::ZERO);
    let order: Vec<String> = paths(&plain).into_iter().map(str::to_owned).collect();
    for shelf in [shelf(Some(toy(2)), usize::MAX).await, shelf(Some(toy(20)), 2).await] {
        let answer = shelf.search(query("birds of the north")).await;
        let found = paths(&answer);
        assert_eq!(found[2..], order[2..], "the rest keeps its order");
        let mut scored: Vec<&str> = order[..2].iter().map(String::as_str).collect();
        scored.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(found[..2], scored, "the best two are reordered");
        assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score));
    }
    let none = shelf(Some(toy(20)), 0).await.search(query("birds of the north")).await;
    assert_eq!(paths(&none), paths(&plain));
    let scores = |answer: &SearchResults| answer.hits.iter().map(|it| it.score).collect::<Vec<_>>();
    assert_eq!(scores(&none), scores(&plain));
}

#[tokio::test]
async fn a_complete_ranking_is_cached_and_another_is_not() {
    for (most, calls) in [(usize::MAX, 1), (2, 2)] {
        let shelf = shelf(Some(toy(20)), most).await;
        for _ in 0..2 {
            shelf.search(query("birds of the north")).await;
        }
        assert_eq!(shelf.calls(), calls);
    }
}

#[tokio::test]
async fn pages_of_a_reranked_answer_do_not_overlap() {
    let shelf = shelf(Some(toy(20)), usize::MAX).await;
    let mut request = Request { k: 1, ..query("birds of the north") };
    let mut found = Vec::new();
    loop {
        let answer = shelf.search(request.clone()).await;
        found.extend(paths(&answer).into_iter().map(str::to_owned));
        let Some(cursor) = answer.cursor else { break };
        request = Request { cursor: Some(cursor), ..request };
    }
    assert_eq!(found, ["3.txt", "2.txt", "1.txt", "0.txt"]);
}

#[tokio::test]
async fn a_request_overrides_the_settings() {
    let configured = shelf(Some(toy(20)), usize::MAX).await;
    let plain = paths(&shelf(None, 0).await.search(query("birds of the north")).await)
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert_eq!(paths(&configured.search(with(RerankOverride::Off)).await), plain);
    assert_eq!(configured.calls(), 0);
    let answer = configured.search(with(on(None, Some(1)))).await;
    assert_eq!(paths(&answer), plain, "one candidate has no other order");
    assert_eq!(configured.calls(), 1);

    let bare = shelf(None, usize::MAX).await;
    let answer = bare.search(with(on(Some("toy"), None))).await;
    assert_eq!(paths(&answer)[0], "3.txt");
    let answer = bare.search(with(on(None, None))).await;
    assert!(answer.hits.is_empty() && answer.failed[0].lacks_reranker);
    insta::assert_snapshot!(answer.failed[0].error, @"the collection has no reranker: set `search.rerank.model` in its pipeline file");
    let answer = bare.search(with(on(Some("other"), None))).await;
    insta::assert_snapshot!(answer.failed[0].error, @"could not rerank the hits: no model in other");
}

#[tokio::test]
async fn invalid_overrides_are_refused() {
    let error = |rerank: RerankOverride| {
        let request = with(rerank);
        request.check_query().unwrap_err().to_string()
    };
    insta::assert_snapshot!(error(on(None, Some(0))), @"invalid `rerank`: expected 1 to 200 candidates");
    let budget = Some(Duration::from_secs(60));
    insta::assert_snapshot!(error(RerankOverride::On { model: None, candidates: None, budget }), @"invalid `rerank`: expected a budget from 1 to 10000 ms");
}

#[tokio::test]
async fn a_program_without_rerankers_says_so() {
    let collection = MemoryCollection::new("shelf", &ToyEmbedder::new("toy"))
        .with_documents(&[("0.txt", &["birds of the north"])]);
    assert_eq!(search_one(&collection, query("birds")).await.hits.len(), 1);
    let library = MemoryResolver::of(vec![collection.target().await]);
    let request =
        Request { collections: vec!["shelf".to_owned()], ..with(on(Some("./model"), None)) };
    let answer = Searcher::default().search(&request, &library).await.unwrap();
    insta::assert_snapshot!(answer.failed[0].error, @"could not rerank the hits: cannot load the reranker ./model: this program runs none");
}
