//! Marks the words of a query in the hits of a page.

use std::ops::Range;
use std::sync::Arc;

use pipeline::{Hit, Payload, SparseEncoder, SparseVector};

use crate::blocking::{BlockingPool, CancelFlag};
use crate::caches::CachedHits;
use crate::collection_search::CollectionHits;
use crate::request::Request;

/// Maximum number of hits that are highlighted on the thread of the request.
const INLINE_HIGHLIGHT_HITS: usize = 20;

/// Computes the highlights of the hits of a page, on a blocking thread for more than a few
/// hits: for a thousand hits it takes as long as the rest of the search. The highlights are
/// stored with the hits. `false` if the queue was full.
pub(crate) async fn highlight_page(
    pool: &BlockingPool,
    request: &Request,
    found: &[(&String, CollectionHits)],
    page: &[(usize, &Hit)],
) -> bool {
    if page.len() <= INLINE_HIGHLIGHT_HITS {
        return true;
    }
    let of_page = |from: usize, hits: &CachedHits| -> Vec<usize> {
        let own = page.iter().filter(|(it, _)| *it == from);
        own.filter_map(|(_, hit)| hits.element_offset(hit)).collect()
    };
    let parts: Vec<_> = found
        .iter()
        .enumerate()
        .map(|(from, (_, it))| {
            (Arc::clone(&it.hits), of_page(from, &it.hits), Highlighter::new(it, request))
        })
        .collect();
    let work = move |cancelled: &CancelFlag| {
        for (hits, places, marker) in parts {
            for hit in places.into_iter().map(|place| &hits[place]) {
                if cancelled.is_set() {
                    return;
                }
                hits.highlights(hit, || marker.find(&hit.payload));
            }
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
    pub(crate) fn new(found: &CollectionHits, request: &Request) -> Self {
        Self {
            sparse_encoder: Arc::clone(&found.target.sparse_encoder),
            query: request.query.clone(),
            sparse_query: found.sparse_query.clone(),
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
