//! Where a page of an answer begins, as a word that is handed out and handed back.
//!
//! A cursor also keeps how many candidates were fused, so that the next page follows on the one before, and a mark
//! of the request, so that it is not taken for another one's. It promises no snapshot: what is taken in or out
//! between two pages may show. It is not signed, since it says nothing that a request may not say: its numbers are held
//! to what paging comes to by itself.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::request::{DEEPEST, Invalid, MOST_HITS, Request};

/// Pages behind so many hits cannot be turned to, even one after the other.
const LAST: usize = 2 * DEEPEST;

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// How many are left out.
    #[serde(rename = "o")]
    pub(crate) offset: usize,
    /// How many of the best of each ranking are fused.
    #[serde(rename = "c")]
    pub(crate) candidates: usize,
    /// The request that it belongs to.
    #[serde(rename = "r")]
    mark: u64,
}

impl Cursor {
    /// Where the page that a request asks for begins.
    pub(crate) fn of(request: &Request) -> Result<Self, Invalid> {
        let mark = mark(request);
        let Some(given) = &request.cursor else {
            let by_itself = || candidates(request, request.offset + request.k);
            let candidates = request.candidates.unwrap_or_else(by_itself);
            return Ok(Self { offset: request.offset, candidates, mark });
        };
        let decoded = URL_SAFE_NO_PAD.decode(given).ok();
        let cursor = decoded.and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        let invalid = |message: &str| Invalid { field: "cursor", message: message.to_owned() };
        let cursor = cursor.ok_or_else(|| invalid("it is none that was handed out"))?;
        let is_wanted = request.candidates.is_none_or(|wanted| wanted == cursor.candidates);
        if cursor.mark != mark || !is_wanted {
            return Err(invalid("it belongs to another request"));
        }
        // The first page may have begun anywhere, and have been of any length.
        let most = candidates(request, DEEPEST + MOST_HITS);
        if cursor.offset > LAST || !(1..=most).contains(&cursor.candidates) {
            return Err(invalid("it is none that was handed out"));
        }
        Ok(cursor)
    }

    /// The page behind this one, if requests can turn to it.
    pub(crate) fn behind(self, count: usize) -> Option<Self> {
        let next = Self { offset: self.offset + count, ..self };
        (next.offset <= LAST).then_some(next)
    }

    /// As it is handed out.
    pub(crate) fn text(self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&self).expect("three numbers are JSON"))
    }
}

/// So many that the hits up to this one are well within, in few steps, so that pages that are near each other are cut
/// from the same ranking.
fn candidates(request: &Request, up_to: usize) -> usize {
    let wanted = up_to * 2 * request.per_document.unwrap_or(1).min(5);
    let mut candidates = 100;
    while candidates < wanted {
        candidates *= 2;
    }
    candidates
}

/// The parts of a request by which its ranking is decided.
fn mark(request: &Request) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Request { query, collections, mode, filter, threshold, per_document, fusion, .. } = request;
    (query, collections, mode, filter, per_document).hash(&mut hasher);
    threshold.map(f32::to_bits).hash(&mut hasher);
    (fusion.k, fusion.dense.to_bits(), fusion.sparse.to_bits()).hash(&mut hasher);
    request.effort.hash(&mut hasher);
    hasher.finish()
}
