//! Marks the words of a query in the hits of a page.

use std::ops::Range;
use std::sync::Arc;

use pipeline::{Payload, Point, SparseEncoder, SparseVector};

use crate::blocking::{BlockingPool, CancelFlag};
use crate::collection_search::RankedCollection;
use crate::request::Request;

/// Maximum number of hits that are highlighted on the thread of the request.
const INLINE_HIGHLIGHT_HITS: usize = 20;

/// A hit to highlight: the index of its collection, its place in the ranking, and its point.
pub(crate) type PageHit = (usize, usize, Arc<Point>);

/// Computes the highlights of the hits of a page, on a blocking thread for more than a few
/// hits: for a thousand hits it takes as long as the rest of the search. The highlights are
/// stored with the hits. `false` if the queue was full.
pub(crate) async fn highlight_page(
    pool: &BlockingPool,
    request: &Request,
    found: &[RankedCollection],
    page: &[PageHit],
) -> bool {
    if page.len() <= INLINE_HIGHLIGHT_HITS {
        return true;
    }
    let parts: Vec<_> =
        found.iter().map(|it| (Arc::clone(&it.hits), Highlighter::new(it, request))).collect();
    let page = page.to_vec();
    let work = move |cancelled: &CancelFlag| {
        for (from, place, point) in page {
            if cancelled.is_set() {
                return;
            }
            let (hits, highlighter) = &parts[from];
            hits.highlights(place, || highlighter.find(&point.payload));
        }
    };
    pool.run(work).await.is_ok()
}

/// Finds the words of a query in passages of a collection.
pub(crate) struct Highlighter {
    sparse_encoder: Arc<dyn SparseEncoder>,
    query: String,
    /// Sparse vector of the query; `None` if the mode did not need it.
    sparse_query: Option<SparseVector>,
}

impl Highlighter {
    pub(crate) fn new(found: &RankedCollection, request: &Request) -> Self {
        Self {
            sparse_encoder: Arc::clone(&found.legs.target.sparse_encoder),
            query: request.query.clone(),
            sparse_query: found.legs.sparse_query.clone(),
        }
    }

    /// Byte ranges of the words in the content of a hit.
    pub(crate) fn find(&self, payload: &Payload) -> Vec<Range<usize>> {
        let language = payload.language.as_deref();
        match &self.sparse_query {
            Some(question) => {
                self.sparse_encoder.match_ranges(&payload.content, language, question)
            }
            None => {
                let languages: Vec<String> = payload.language.iter().cloned().collect();
                let question = self.sparse_encoder.encode_query(&self.query, &languages);
                self.sparse_encoder.match_ranges(&payload.content, language, &question)
            }
        }
    }
}
