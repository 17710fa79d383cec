//! The contract of filters and facets.

use futures::future::BoxFuture;
use pipeline::{
    Filter, IndexQuery, KeywordField, NumericField, NumericRange, Point, SearchAccuracy, TextField,
    VectorIndex as _, Vectors, format_fact,
};

use crate::MemoryVectors;
use crate::contract::points::{DIM, chunks, document, hits, ids, upsert, vector};

/// Each filter returns exactly the matching points; facets are counted; chunks are returned in
/// order.
pub(super) async fn filters_match_exactly(store: &dyn Vectors) {
    let exact = MemoryVectors::new(DIM);
    let mut points: Vec<Point> =
        (0..10).flat_map(|number| chunks(number, 4, u64::from(number) * 10)).collect();
    for point in &mut points {
        let number = point.payload.uri.as_bytes()[15] - b'0';
        let payload = &mut point.payload;
        payload.mime_type =
            if number.is_multiple_of(2) { "text/html" } else { "text/plain" }.to_owned();
        payload.language = (number > 2).then(|| if number > 5 { "de" } else { "en" }.to_owned());
        payload.title = (number != 4).then(|| format!("The Title, number {number}"));
        payload.page = (number != 5).then_some(payload.chunk_index + 1);
        payload.modified_at =
            (number != 6).then_some(1_700_000_000_000_000 + i64::from(number) * 1_000_001);
    }
    upsert(store, points.clone()).await;
    upsert(&exact, points).await;
    let is = |field, values: &[&str]| {
        Filter::In(field, values.iter().map(|value| (*value).to_owned()).collect())
    };
    let within = |field, gte: Option<i64>, lt: Option<i64>| {
        Filter::Range(field, NumericRange { gte, lt, ..NumericRange::default() })
    };
    let third = document(3).to_string();
    let filters = [
        Filter::All(Vec::new()),
        Filter::Any(Vec::new()),
        is(KeywordField::MimeType, &["text/html"]),
        is(KeywordField::MimeType, &["text/html", "text/plain", "x"]),
        is(KeywordField::MimeType, &[]),
        is(KeywordField::Language, &["de"]),
        is(KeywordField::Document, &[&third]),
        is(KeywordField::Uri, &["file:///corpus/7.txt", "file:///corpus/8.txt"]),
        is(KeywordField::Source, &["/corpus"]),
        is(KeywordField::Fact, &[&format_fact("author", "author 1")]),
        Filter::All(vec![
            is(KeywordField::Fact, &[&format_fact("author", "author 1")]),
            is(KeywordField::Fact, &[&format_fact("year", "2024")]),
        ]),
        Filter::Not(Box::new(is(KeywordField::Language, &["de"]))),
        within(NumericField::Page, Some(2), Some(4)),
        within(NumericField::ChunkIndex, None, Some(1)),
        Filter::Range(NumericField::Page, NumericRange::exactly(3)),
        within(NumericField::ModifiedAt, Some(1_700_000_003_000_003), Some(1_700_000_007_000_007)),
        Filter::Range(
            NumericField::ModifiedAt,
            NumericRange {
                gt: Some(1_700_000_003_000_003),
                lte: Some(1_700_000_007_000_007),
                ..NumericRange::default()
            },
        ),
        Filter::Match(TextField::Title, "title 7".to_owned()),
        Filter::Match(TextField::Title, "NUMBER the".to_owned()),
        Filter::Match(TextField::Title, "title nothing".to_owned()),
        Filter::Match(TextField::Headings, "chapter".to_owned()),
        Filter::Any(vec![
            is(KeywordField::Language, &["de"]),
            Filter::All(vec![
                is(KeywordField::MimeType, &["text/plain"]),
                Filter::Not(Box::new(Filter::Range(NumericField::Page, NumericRange::exactly(1)))),
            ]),
        ]),
    ];
    for filter in filters {
        let query = IndexQuery {
            filter: Some(filter.clone()),
            ..IndexQuery::nearest(&vector(3), 1000, SearchAccuracy::Approximate)
        };
        let mut found = ids(&hits(store, &query).await);
        let mut wanted = ids(&hits(&exact, &query).await);
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{filter:?}");
        for field in
            [KeywordField::MimeType, KeywordField::Language, KeywordField::Fact, KeywordField::Uri]
        {
            let counts = store.facet(field, Some(&filter), 100).await.expect("counts");
            let expected = exact.facet(field, Some(&filter), 100).await.expect("counts");
            assert_eq!(counts, expected, "{field:?} where {filter:?}");
        }
    }
    let most = store.facet(KeywordField::MimeType, None, 1).await.expect("counts");
    assert_eq!(most.len(), 1);
    for (number, from, limit) in [(3, 0, 10), (3, 1, 2), (3, 4, 3), (99, 0, 3), (3, 0, 0)] {
        let found = store.chunks(document(number), from, limit).await.expect("reads");
        let wanted = exact.chunks(document(number), from, limit).await.expect("reads");
        assert_eq!(found, wanted, "{limit} chunks of {number} from {from}");
    }
}

/// Adapter for the table of checks.
pub(super) fn filters_check(store: &dyn Vectors) -> BoxFuture<'_, ()> {
    Box::pin(filters_match_exactly(store))
}
