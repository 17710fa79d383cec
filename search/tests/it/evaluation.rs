//! Evaluation of a collection in memory.

use search::SearchMode;
use search::Searcher;
use search::evaluation::{Judgements, MEASURES, estimate, evaluate};

use crate::support::{MemoryCollection, ToyEmbedder};

#[tokio::test]
async fn documents_are_ranked_by_their_best_passage() {
    let shelf = MemoryCollection::new("shelf", &ToyEmbedder::new("toy")).with_documents(&[
        ("birds.txt", &["birds fly", "birds eat", "birds sing", "birds birds birds"]),
        ("ships.txt", &["ships sail", "and birds follow"]),
        ("trees.txt", &["trees grow"]),
    ]);
    let judgements = Judgements::from_jsonl(
        "{\"query\": \"birds sing\", \"relevant\": {\"birds.txt\": 1}}\n\
         {\"query\": \"ships sail\", \"relevant\": {\"ships.txt\": 2, \"trees.txt\": 1}}\n\
         {\"query\": \"trees grow\", \"relevant\": {\"nowhere.txt\": 1}}\n",
    )
    .unwrap();
    let target = shelf.target().await;
    for mode in [SearchMode::Dense, SearchMode::Sparse, SearchMode::Hybrid] {
        let evaluation =
            evaluate(&Searcher::default(), &target, &judgements, Some(mode)).await.unwrap();
        assert_eq!(evaluation.mode, mode);
        let [birds, ships, trees] = &evaluation.scores[..] else {
            panic!("expected one entry per query");
        };
        // Four passages of one document count as one document.
        assert_eq!((birds.ndcg_10, birds.mrr_10, birds.recall_10), (1.0, 1.0, 1.0), "{mode}");
        assert_eq!(ships.mrr_10, 1.0);
        assert_eq!((trees.ndcg_10, trees.recall_100), (0.0, 0.0));
        for measure in MEASURES {
            let sample: Vec<f64> = evaluation.scores.iter().map(|it| measure.score(it)).collect();
            let mean = estimate(&sample);
            assert!(mean.low <= mean.mean && mean.mean <= mean.high);
        }
    }
}
