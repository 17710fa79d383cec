//! The cost of a search: limits of filters, and the budget that no search exceeds.

use proptest::prelude::*;
use search::{Request, SearchMode, parse_filter, pattern_bytes};
use serde_json::{Value, json};

use crate::support::{MemoryCollection, ToyEmbedder, query, search_one};

/// A filter of the given size in one dimension: conditions, nesting, patterns, pattern length,
/// values.
fn sized(kind: usize, size: usize) -> Value {
    let nested = |size: usize| {
        (0..size).fold(json!({ "page": 1 }), |inner, n| match n % 3 {
            0 => json!({ "not": inner }),
            1 => json!({ "and": [inner] }),
            _ => json!({ "or": [inner] }),
        })
    };
    match kind {
        0 => json!({ "or": vec![json!({ "page": 1 }); size] }),
        1 => json!({ "or": vec![json!({}); size] }),
        2 => nested(size),
        3 => json!({ "path": { "glob": vec!["*a*"; size] } }),
        4 => json!({ "or": vec![json!({ "path": "*a*" }); size] }),
        5 => json!({ "path": { "glob": "a".repeat(size) } }),
        6 => json!({ "path": { "glob": "{".repeat(size) + "a" + &"}".repeat(size) } }),
        7 => json!({ "path": { "glob": format!("{{{}}}", vec!["a"; size].join(",")) } }),
        8 => json!({ "language": vec!["en"; size] }),
        9 => {
            json!({ "metadata": (0..size).map(|n| (n.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>() })
        }
        10 => json!({ "path": "a".repeat(size) }),
        11 => json!({ "title": "a".repeat(size) }),
        _ => json!({ "path": { "glob": vec!["a".repeat(1000); size] } }),
    }
}

#[test]
fn every_limit_of_a_filter_is_exact_and_named() {
    for (kind, most, words) in [
        (0, 99, "more than 100 conditions"),
        (1, 99, "more than 100 conditions"),
        (2, 8, "nested more than 8 deep"),
        (3, 100, "more than 100 patterns"),
        (4, 99, "more than 100 conditions"),
        (5, 1000, "at most 1000 are allowed"),
        (6, 10, "braces more than 10 deep"),
        (7, 100, "more than 100 alternatives"),
        (8, 1000, "more than 1000 values"),
        (9, 100, "more than 100 conditions"),
        (10, 4096, "at most 4096 bytes"),
        (11, 1000, "at most 1000 characters"),
        (12, 16, "more than 16384 bytes of patterns"),
    ] {
        let good = parse_filter(&sized(kind, most));
        assert!(good.is_ok(), "{kind} {most}: {}", good.unwrap_err());
        let refused = parse_filter(&sized(kind, most + 1)).unwrap_err().to_string();
        assert!(refused.contains(words), "{kind}: {refused}");
        assert!(refused.len() < 500, "{kind}: {} bytes", refused.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A filter of any size is parsed, or refused before any pattern is compiled.
    #[test]
    fn a_filter_of_any_size_is_read_or_refused(kind in 0_usize..13, size in 1_usize..60_000) {
        // `serde_json` limits the nesting of JSON to 128.
        let size = if kind == 2 { size % 120 + 1 } else { size };
        let filter = sized(kind, size);
        let measured = pattern_bytes(&filter);
        match parse_filter(&filter) {
            Ok(_) => prop_assert!(measured.unwrap() <= 16 << 10),
            Err(error) => prop_assert_eq!(measured, Err(error)),
        }
    }
}

/// Few documents with many passages: grouping reads further hits up to the budget.
#[tokio::test]
async fn gathering_documents_ends_where_the_budget_does() {
    let toy = ToyEmbedder::new("toy");
    let passages: Vec<String> =
        (0..3000).map(|n| format!("passage {n} of many about trees")).collect();
    let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
    let shelf = MemoryCollection::new("shelf", &toy)
        .with_documents(&[("a", &passages), ("b", &["one other text"])]);
    let mode = Some(SearchMode::Dense);
    let wanted = Request { mode, k: 2, per_document: Some(1), ..query("passage about trees") };
    let named = Request { collections: vec!["shelf".to_owned()], ..wanted.clone() };
    let least = named.cost().unwrap();
    let mut costs = Vec::new();
    for budget in [least, least + 500, least + 2000, 50_000, u64::MAX] {
        let answer = search_one(&shelf, Request { budget, ..wanted.clone() }).await;
        assert!(answer.cost <= budget, "{} of {budget}", answer.cost);
        assert!(answer.hits.len() <= 2);
        costs.push((answer.cost, answer.hits.len()));
    }
    assert_eq!(costs[0], (least, 1), "nothing beyond the first window");
    assert!(costs.is_sorted() && costs[4].1 == 2, "{costs:?}");
}

#[tokio::test]
async fn no_page_is_offered_that_would_cost_too_much() {
    let toy = ToyEmbedder::new("toy");
    let passages: Vec<String> = (0..900).map(|n| format!("passage {n}")).collect();
    let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
    let shelf = MemoryCollection::new("shelf", &toy).with_documents(&[("a", &passages)]);
    let mode = Some(SearchMode::Dense);
    let first = Request { mode, k: 100, budget: 1000, ..query("passage") };
    let (mut cursor, mut pages) = (None, 0);
    loop {
        let page = Request { cursor: cursor.clone(), ..first.clone() };
        let named = Request { collections: vec!["shelf".to_owned()], ..page.clone() };
        assert!(named.cost().unwrap() <= 1000, "an offered page is within the budget");
        let answer = search_one(&shelf, page).await;
        pages += 1;
        match answer.cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, 7, "of nine");
}
