//! Exact terms: names, numbers and phrases that a question contains are in its first hit.

use pipeline::SplitMix64;
use search::{Request, SearchMode, SearchSettings, Searcher, SettingsOverrides};

use crate::support::{MemoryCollection, MemoryResolver, ToyEmbedder, paths, query, search_one};

/// Number of passages with a planted term.
const PASSAGES: usize = 240;

/// Words of the passages.
const WORDS: [&str; 24] = [
    "river", "stone", "window", "carpet", "engine", "harbour", "lantern", "meadow", "orchard",
    "paper", "quarry", "ribbon", "saddle", "temple", "umbrella", "valley", "wagon", "yard",
    "bridge", "candle", "desert", "feather", "garden", "hammer",
];

fn random_words(random: &mut SplitMix64, count: usize) -> String {
    let word = |random: &mut SplitMix64| {
        let at = usize::try_from(random.next_u64() % 24).unwrap();
        WORDS[at]
    };
    (0..count).map(|_| word(random)).collect::<Vec<_>>().join(" ")
}

/// The planted term of a passage: an identifier, a number or a name.
fn planted(n: usize) -> String {
    let syllables = ["ka", "lo", "mi", "ru", "te", "zo", "vi", "na"];
    let name = [n % 8, n / 8 % 8, n / 64 % 8].map(|at| syllables[at]).concat();
    match n % 6 {
        0 => format!("{name}_open_{n}"),
        1 => format!("{}", 40_000 + n * 37),
        2 => format!("lib{name}.so"),
        3 => format!("v{}.{}.{}", n / 100, n / 10 % 10, n % 10 + 20),
        4 => format!("get{}Handle", name.to_uppercase()),
        _ => format!("{}fjord", name),
    }
}

struct Planted {
    term: String,
    passage: String,
}

fn sample() -> (MemoryCollection, Vec<Planted>) {
    let mut random = SplitMix64::new(14);
    let passages = (0..PASSAGES).map(|n| {
        let term = planted(n);
        let (before, after) = (random_words(&mut random, 7), random_words(&mut random, 6));
        Planted { passage: format!("{before} {term} {after}"), term }
    });
    let passages: Vec<Planted> = passages.collect();
    let mut shelf = MemoryCollection::new("shelf", &ToyEmbedder::new("toy"));
    for (n, some) in passages.chunks(6).enumerate() {
        let texts: Vec<&str> = some.iter().map(|it| it.passage.as_str()).collect();
        shelf = shelf.with_documents(&[(&format!("{n:02}.txt"), &texts)]);
    }
    (shelf, passages)
}

#[tokio::test]
async fn the_first_hit_contains_the_term() {
    let (shelf, passages) = sample();
    let library = MemoryResolver::of(vec![shelf.target().await]);
    let searcher = Searcher::default();
    for (n, planted) in passages.iter().enumerate() {
        let Planted { term, .. } = planted;
        // The text of another passage, whose dense vector is therefore the most similar.
        let misleading = &passages[(n + 100) % PASSAGES].passage;
        let others: Vec<&str> = misleading.split(' ').filter(|word| WORDS.contains(word)).collect();
        let others = others.join(" ");
        let mut questions =
            vec![term.clone(), format!("\"{term}\""), format!("{others} \"{term}\"")];
        // A word among many others is no exact term.
        if n % 6 != 5 {
            questions.push(format!("{others} {term}"));
        }
        for question in questions {
            let request = Request {
                mode: Some(SearchMode::Hybrid),
                explain: true,
                ..Request::new(&question, vec!["shelf".to_owned()])
            };
            let answer = searcher.search(&request, &library).await.unwrap();
            let first = &answer.hits[0];
            assert!(
                first.payload.content.split(' ').any(|word| word == term),
                "{question}: {} ({:?})",
                first.payload.content,
                first.explanation
            );
            assert_eq!(first.explanation.as_ref().unwrap().exact, std::slice::from_ref(term));
            assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score), "{question}");
        }
    }
}

#[tokio::test]
async fn exact_terms_can_be_disabled() {
    let (shelf, passages) = sample();
    let question = format!("{} {}", passages[0].term, passages[100].passage);
    let by_default = search_one(&shelf, query(&question)).await;
    assert!(by_default.hits[0].score > 2.0);
    let overrides = SettingsOverrides { exact_terms: Some(false), ..SettingsOverrides::default() };
    let plain = search_one(&shelf, Request { overrides, ..query(&question) }).await;
    assert!(plain.hits[0].score <= 1.0);
    assert!(SearchSettings::default().exact_terms);
    // Other modes have scores of their own.
    for mode in [SearchMode::Dense, SearchMode::Sparse] {
        let with = search_one(&shelf, Request { mode: Some(mode), ..query(&question) }).await;
        let overrides =
            SettingsOverrides { exact_terms: Some(false), ..SettingsOverrides::default() };
        let without = Request { mode: Some(mode), overrides, ..query(&question) };
        assert_eq!(with.hits, search_one(&shelf, without).await.hits);
    }
}

#[tokio::test]
async fn phrases_are_adjacent_words() {
    let shelf = MemoryCollection::new("shelf", &ToyEmbedder::new("toy")).with_documents(&[
        ("apart.txt", &["too many, many clients too: clients of too many shops are clients"]),
        ("phrase.txt", &["the server says: Too many\nclients; then a long text follows about it"]),
        ("other.txt", &["nothing of the kind"]),
    ]);
    let answer = search_one(&shelf, query("clients \"too many clients\"")).await;
    assert_eq!(paths(&answer)[0], "phrase.txt");
}

#[tokio::test]
async fn a_term_in_the_text_precedes_one_in_the_file_name() {
    let shelf = MemoryCollection::new("shelf", &ToyEmbedder::new("toy")).with_documents(&[
        ("other.txt", &["a text about errors and their numbers"]),
        ("E4711.txt", &["a text about E4712 and errors", "a reference to E4711 in a text"]),
    ]);
    let answer = search_one(&shelf, query("what is E4711 in the text about errors")).await;
    assert_eq!(answer.hits[0].payload.content, "a reference to E4711 in a text");
}

#[tokio::test]
async fn a_filter_applies_to_exact_terms() {
    let (shelf, passages) = sample();
    let filter = search::parse_filter(&serde_json::json!({ "path": "03.txt" })).unwrap();
    let question = query(&passages[0].term);
    let answer = search_one(&shelf, Request { filter: Some(filter), ..question }).await;
    assert!(paths(&answer).iter().all(|path| *path == "03.txt"), "{:?}", paths(&answer));
}

#[tokio::test]
async fn an_explanation_adds_up() {
    let (shelf, passages) = sample();
    let question = format!("{} river stone", passages[0].term);
    let answer = search_one(&shelf, Request { explain: true, k: 20, ..query(&question) }).await;
    for hit in &answer.hits {
        let explanation = hit.explanation.as_ref().unwrap();
        let exact = if explanation.exact.is_empty() { 0.0 } else { 2.0 };
        assert!((hit.score - explanation.fused.unwrap() - exact).abs() < 1e-5);
        if let Some(dense) = explanation.dense {
            assert_eq!(Some(dense.score), hit.similarity);
        }
        if let Some(sparse) = explanation.sparse {
            let sum: f32 = explanation.terms.iter().map(|term| term.weight).sum();
            assert!((sum - sparse.score).abs() < 1e-3, "{sum} is not {}", sparse.score);
        }
    }
    let plain = search_one(&shelf, query(&question)).await;
    assert!(plain.hits.iter().all(|hit| hit.explanation.is_none()));
}
