//! The position of a page in an answer, encoded as an opaque cursor.
//!
//! A cursor also contains the number of fused candidates, so that the next page continues the same
//! ranking, and a hash of the request, so that it is not used with another one. It is not a
//! snapshot: documents added or removed between two pages may appear or be missing. It is not
//! signed, because it permits nothing beyond what a request can set: its numbers are limited to
//! the values that paging can produce.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::request::{InvalidRequest, MAX_HITS, MAX_OFFSET, Request};

/// Largest offset that paging can reach.
const MAX_CURSOR_OFFSET: usize = 2 * MAX_OFFSET;

/// The position of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Number of hits to skip.
    #[serde(rename = "o")]
    pub(crate) offset: usize,
    /// Number of fused entries per ranking.
    #[serde(rename = "c")]
    pub(crate) candidates: usize,
    /// Hash of the request that it belongs to.
    #[serde(rename = "r")]
    mark: u64,
}

impl Cursor {
    /// The position of the page that a request asks for.
    pub(crate) fn for_request(request: &Request) -> Result<Self, InvalidRequest> {
        let mark = request_fingerprint(request);
        let Some(given) = &request.cursor else {
            let by_itself = || candidates_up_to(request, request.offset + request.k);
            let candidates = request.candidates.unwrap_or_else(by_itself);
            return Ok(Self { offset: request.offset, candidates, mark });
        };
        let decoded = URL_SAFE_NO_PAD.decode(given).ok();
        let cursor = decoded.and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        let invalid =
            |message: &str| InvalidRequest { field: "cursor", message: message.to_owned() };
        let cursor = cursor.ok_or_else(|| invalid("not a cursor of an earlier response"))?;
        let is_wanted = request.candidates.is_none_or(|wanted| wanted == cursor.candidates);
        if cursor.mark != mark || !is_wanted {
            return Err(invalid("it belongs to another request"));
        }
        // The first page may have had any offset and length.
        let most = candidates_up_to(request, MAX_OFFSET + MAX_HITS);
        if cursor.offset > MAX_CURSOR_OFFSET || !(1..=most).contains(&cursor.candidates) {
            return Err(invalid("not a cursor of an earlier response"));
        }
        Ok(cursor)
    }

    /// The next page; `None` beyond the offset that paging can reach.
    pub(crate) fn advance(self, count: usize) -> Option<Self> {
        let next = Self { offset: self.offset + count, ..self };
        (next.offset <= MAX_CURSOR_OFFSET).then_some(next)
    }

    /// The encoded cursor: JSON in URL-safe base64.
    pub(crate) fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&self).expect("three numbers are JSON"))
    }
}

/// The number of candidates for hits up to `up_to`: at least twice as many, doubled from 100, so
/// that nearby pages are taken from the same ranking.
fn candidates_up_to(request: &Request, up_to: usize) -> usize {
    let wanted = up_to * 2 * request.per_document.unwrap_or(1).min(5);
    let mut candidates = 100;
    while candidates < wanted {
        candidates *= 2;
    }
    candidates
}

/// Hash of the fields of a request that determine its ranking.
fn request_fingerprint(request: &Request) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Request { query, collections, mode, filter, threshold, per_document, overrides, .. } =
        request;
    (query, collections, mode, filter, per_document).hash(&mut hasher);
    threshold.map(f32::to_bits).hash(&mut hasher);
    overrides.cache_key().hash(&mut hasher);
    request.search_params.hash(&mut hasher);
    hasher.finish()
}
