//! Paging, and hits grouped by document.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use search::{Fusion, Request, SearchMode, Searcher, SettingsOverrides};

use crate::support::{MemoryCollection, MemoryResolver, ToyEmbedder, paths, query, search_one};

/// Documents of several chunks, all of which match the query.
fn sample_collection(documents: usize) -> MemoryCollection {
    let texts: Vec<[String; 3]> = (0..documents)
        .map(|n| {
            [
                format!("number {n} of many ties"),
                format!("ties of {}", n % 3),
                format!("ties and {n} knots of rope"),
            ]
        })
        .collect();
    let mut shelf = MemoryCollection::new("shelf", &ToyEmbedder::new("toy"));
    for (n, [a, b, c]) in texts.iter().enumerate() {
        shelf = shelf.with_documents(&[(&format!("{n:02}.txt"), &[a, b, c])]);
    }
    shelf
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Pages by cursor return every hit once, in the order of one long answer.
    #[test]
    fn pages_are_pieces_of_one_answer(
        k in 1_usize..20,
        mode in prop::sample::select(vec![SearchMode::Dense, SearchMode::Sparse, SearchMode::Hybrid]),
        per_document in prop::option::of(1_usize..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let shelf = sample_collection(12);
            let library = MemoryResolver::of(vec![shelf.target().await]);
            let searcher = Searcher::default();
            let request = Request {
                mode: Some(mode),
                per_document,
                candidates: Some(200),
                ..Request::new("ties of rope", vec!["shelf".to_owned()])
            };
            let whole = Request { k: 1000, ..request.clone() };
            let whole = searcher.search(&whole, &library).await.unwrap();
            let ids = |answer: &search::SearchResults| {
                let id = |it: &search::MergedHit| (it.payload.uri.clone(), it.payload.chunk_index);
                answer.hits.iter().map(id).collect::<Vec<_>>()
            };
            prop_assert_eq!(&whole.cursor, &None);
            let (mut pages, mut cursor) = (Vec::new(), None);
            loop {
                let page = Request { k, cursor, ..request.clone() };
                let page = searcher.search(&page, &library).await.unwrap();
                pages.extend(ids(&page));
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            prop_assert_eq!(&pages, &ids(&whole));
            let distinct: HashSet<_> = pages.iter().collect();
            prop_assert_eq!(distinct.len(), pages.len());
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn hits_are_gathered_by_document() {
    let shelf = sample_collection(9);
    let flat = search_one(&shelf, Request { k: 1000, ..query("ties of rope") }).await;
    for per_document in [1, 2, 3] {
        let request = Request {
            k: 4,
            per_document: Some(per_document),
            candidates: Some(400),
            ..query("ties of rope")
        };
        let answer = search_one(&shelf, request).await;
        let mut documents = paths(&answer);
        assert!(answer.hits.len() <= 4 * per_document);
        documents.dedup();
        let distinct: HashSet<_> = documents.iter().collect();
        assert_eq!((documents.len(), distinct.len()), (4, 4), "hits of a document are adjacent");
        let best: Vec<_> = answer.hits.iter().map(|hit| &hit.payload.uri).collect();
        assert_eq!(best[0], &flat.hits[0].payload.uri, "the best hit's document comes first");
    }
}

#[tokio::test]
async fn a_cursor_is_for_its_own_request() {
    let library = MemoryResolver::of(vec![sample_collection(5).target().await]);
    let searcher = Searcher::default();
    let request = Request { k: 2, ..Request::new("ties", vec!["shelf".to_owned()]) };
    let cursor = searcher.search(&request, &library).await.unwrap().cursor;
    assert!(cursor.is_some());
    let other = Request { query: "rope".to_owned(), cursor, ..request.clone() };
    let said = searcher.search(&other, &library).await.unwrap_err().to_string();
    assert_eq!(said, "invalid `cursor`: it belongs to another request");
    let made_up = Request { cursor: Some("x".to_owned()), ..request };
    let said = searcher.search(&made_up, &library).await.unwrap_err().to_string();
    assert_eq!(said, "invalid `cursor`: not a cursor of an earlier response");
}

/// A modified cursor reaches no further than requests and paging do.
#[tokio::test]
async fn a_cursor_does_not_go_around_the_limits() {
    let library = MemoryResolver::of(vec![sample_collection(5).target().await]);
    let searcher = Searcher::default();
    let request = Request { k: 2, ..Request::new("ties", vec!["shelf".to_owned()]) };
    let changed = async |request: &Request, key: &str, number: u64| {
        let cursor = searcher.search(request, &library).await.unwrap().cursor.unwrap();
        let mut cursor: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap();
        cursor[key] = number.into();
        let cursor = Some(URL_SAFE_NO_PAD.encode(cursor.to_string()));
        let answer = searcher.search(&Request { cursor, ..request.clone() }, &library).await;
        answer.map(|answer| answer.cursor).map_err(|error| error.to_string())
    };
    let by_document = Request { per_document: Some(3), ..request.clone() };
    for (request, key, number) in [
        (&request, "o", 20_001),
        (&request, "o", u64::MAX),
        (&request, "c", 0),
        (&request, "c", 25_601),
        (&request, "c", u64::MAX),
        (&by_document, "o", 20_001),
        (&by_document, "c", 0),
        (&by_document, "c", 102_401),
    ] {
        let said = changed(request, key, number).await.unwrap_err();
        assert_eq!(said, "invalid `cursor`: not a cursor of an earlier response", "{key} {number}");
    }
    // The largest offset that paging can reach; there are no hits.
    assert_eq!(changed(&request, "o", 20_000).await, Ok(None));
    changed(&request, "c", 25_600).await.unwrap();
    let own = Request { candidates: Some(50), ..request };
    changed(&own, "c", 50).await.unwrap();
    let said = changed(&own, "c", 51).await.unwrap_err();
    assert_eq!(said, "invalid `cursor`: it belongs to another request");
}

#[tokio::test]
async fn invalid_requests_are_rejected() {
    let library = MemoryResolver::of(vec![sample_collection(1).target().await]);
    let request = || Request::new("ties", vec!["shelf".to_owned()]);
    let fusion =
        |fusion| SettingsOverrides { fusion: Some(fusion), ..SettingsOverrides::default() };
    let weightless = fusion(Fusion::Rrf { k: 60, dense: 0.0, sparse: 0.0 });
    for (wrong, field) in [
        (Request { query: " \n".to_owned(), ..request() }, "query"),
        (Request { collections: Vec::new(), ..request() }, "collections"),
        (Request { k: 0, ..request() }, "k"),
        (Request { k: 1001, ..request() }, "k"),
        (Request { offset: 10_001, ..request() }, "offset"),
        (Request { threshold: Some(f32::NAN), ..request() }, "threshold"),
        (Request { per_document: Some(0), ..request() }, "per_document"),
        (Request { candidates: Some(0), ..request() }, "candidates"),
        (Request { overrides: weightless, ..request() }, "fusion"),
        (Request { overrides: fusion(Fusion::Convex { dense: 1.5 }), ..request() }, "fusion"),
    ] {
        let search::SearchError::Invalid(invalid) =
            Searcher::default().search(&wrong, &library).await.unwrap_err();
        assert_eq!(invalid.field, field);
    }
}
