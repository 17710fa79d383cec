//! Search requests and results as the JSON types of the API: the one place that translates them for
//! a client. `server/src/routes/search/` is the other side.

use std::time::Duration;

use pipeline::{HumanDuration, PassageField, Payload, SearchAccuracy, TermMatch};
use search::{
    CollectionFailure, CollectionResult, Correction, Explanation, Fusion, Leg, MergedHit, Request,
    RerankOverride, SearchMode, SearchResults, SettingsOverrides, Timings,
};
use serde_json::{Map, Value};
use server::wire::{
    FailedCollection, FreshnessRequest, FusionMethod, FusionRequest, Mode, ProximityRequest,
    RankingPlace, RerankOptions, RerankRequest, SearchAnswer, SearchExplanation, SearchHit,
    SearchRequest, SpellingCorrection, to_byte_ranges,
};

/// The request of a search. All fields are named, so that a new option cannot be forgotten here.
///
/// # Errors
/// The option that the API does not have.
pub(super) fn to_wire(
    request: &Request,
    filter: Option<Map<String, Value>>,
) -> Result<SearchRequest, &'static str> {
    let Request {
        query,
        collections,
        mode,
        k,
        offset,
        cursor,
        // Its source is `filter`.
        filter: _,
        threshold,
        per_document,
        overrides,
        candidates,
        highlight,
        explain,
        merge_adjacent,
        search_params,
        // The server has its own.
        budget: _,
    } = request;
    let SettingsOverrides {
        fusion,
        exact_terms,
        typos,
        rerank,
        siblings,
        lead,
        freshness,
        proximity,
        diversity,
    } = overrides;
    let rerank = match rerank {
        None => None,
        Some(RerankOverride::Off) => Some(RerankRequest::Switch(false)),
        Some(RerankOverride::On { model: Some(_), .. }) => return Err("a model of `--rerank`"),
        Some(RerankOverride::On { model: None, candidates, budget }) => {
            let budget_ms = budget.and_then(|budget| u64::try_from(budget.as_millis()).ok());
            Some(RerankRequest::Options(RerankOptions { candidates: *candidates, budget_ms }))
        }
    };
    if lead.is_some() {
        return Err("the weight of first chunks");
    }
    let fusion = fusion.map(|fusion| match fusion {
        Fusion::Rrf { k, dense, sparse } => FusionRequest {
            method: Some(FusionMethod::Rrf),
            k: Some(k),
            dense: Some(dense),
            sparse: Some(sparse),
        },
        Fusion::Convex { dense } => FusionRequest {
            method: Some(FusionMethod::Convex),
            dense: Some(dense),
            ..FusionRequest::default()
        },
    });
    Ok(SearchRequest {
        query: query.clone(),
        collections: collections.clone(),
        mode: mode.map(|mode| match mode {
            SearchMode::Dense => Mode::Dense,
            SearchMode::Sparse => Mode::Sparse,
            SearchMode::Hybrid => Mode::Hybrid,
        }),
        k: *k,
        offset: *offset,
        cursor: cursor.clone(),
        filter,
        threshold: *threshold,
        per_document: *per_document,
        fusion,
        exact_terms: *exact_terms,
        typos: *typos,
        rerank,
        proximity: proximity
            .map(|it| ProximityRequest { weight: it.weight, candidates: it.candidates }),
        siblings: *siblings,
        freshness: freshness.map(|it| FreshnessRequest {
            half_life: human_duration(it.half_life),
            weight: it.weight,
        }),
        diversity: *diversity,
        candidates: *candidates,
        highlight: *highlight,
        explain: *explain,
        merge_adjacent: *merge_adjacent,
        exact: *search_params == SearchAccuracy::Exact,
    })
}

/// A number of seconds in the largest unit that divides it, because a duration has at most six
/// digits; in whole days if it is still too long.
fn human_duration(seconds: u64) -> HumanDuration {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let exact = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    let (unit, name) = exact.unwrap_or((1, 's'));
    let written = HumanDuration::try_from(format!("{}{name}", seconds / unit));
    written.unwrap_or_else(|_| {
        let days = (seconds / 86_400).clamp(1, 999_999);
        HumanDuration::try_from(format!("{days}d")).expect("at most six digits and a unit")
    })
}

/// The results of a search. Collections that failed have their own name.
pub(super) fn to_results(answer: SearchAnswer) -> SearchResults {
    let SearchAnswer { hits, nothing_near, next, corrections, searched, failed, timings } = answer;
    let searched: Vec<CollectionResult> = searched
        .into_iter()
        .map(|it| CollectionResult {
            requested: it.name.clone(),
            name: it.name,
            collection: it.collection,
            generation: it.generation,
            mode: match it.mode {
                Mode::Dense => SearchMode::Dense,
                Mode::Sparse => SearchMode::Sparse,
                Mode::Hybrid => SearchMode::Hybrid,
            },
        })
        .collect();
    let ms = |ms: f64| Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default();
    SearchResults {
        hits: hits.into_iter().map(|hit| to_hit(hit, &searched)).collect(),
        nothing_near,
        cursor: next,
        searched,
        failed: failed.into_iter().map(to_failure).collect(),
        corrections: corrections.into_iter().map(to_correction).collect(),
        timings: Timings {
            total: ms(timings.total_ms),
            embed: ms(timings.embed_ms),
            store: ms(timings.store_ms),
            rerank: ms(timings.rerank_ms),
        },
        cost: 0,
    }
}

fn to_hit(hit: SearchHit, searched: &[CollectionResult]) -> MergedHit {
    let position = searched.iter().position(|it| it.collection == hit.collection);
    let highlights = to_byte_ranges(&hit.text, &hit.highlights);
    let facts = hit
        .metadata
        .into_iter()
        .flat_map(|(key, values)| values.into_iter().map(move |value| format!("{key}={value}")));
    MergedHit {
        collection_index: position.unwrap_or_default(),
        score: hit.score,
        similarity: hit.similarity,
        explanation: hit.explanation.map(to_explanation),
        highlights,
        chunks: hit.chunks,
        payload: Payload {
            collection: hit.collection,
            document: hit.document,
            chunk_index: hit.chunk_index,
            content: hit.text,
            facts: facts.collect(),
            uri: hit.uri,
            title: hit.title,
            headings: hit.headings,
            page: hit.page,
            start: hit.start,
            end: hit.end,
            mime_type: hit.mime_type,
            language: hit.language,
            modified_at: hit.modified_at.map(|at| at.timestamp_micros()),
            source: hit.source,
        },
    }
}

fn to_correction(correction: SpellingCorrection) -> Correction {
    let SpellingCorrection { typed, used, alternatives } = correction;
    Correction { typed, used, alternatives }
}

fn to_explanation(explanation: SearchExplanation) -> Explanation {
    let SearchExplanation {
        dense,
        sparse,
        fused,
        exact_terms,
        rerank,
        siblings,
        lead,
        freshness,
        proximity,
        diversity,
        terms,
    } = explanation;
    let leg = |place: RankingPlace| Leg { rank: place.rank, score: place.score };
    let terms = terms.into_iter().filter_map(|it| {
        let field =
            [PassageField::Text, PassageField::Headings, PassageField::Title, PassageField::Path]
                .into_iter()
                .find(|field| field.name() == it.field)?;
        // The index of the term is a detail of the sparse encoder.
        Some(TermMatch {
            term: it.term,
            index: 0,
            field,
            frequency: it.frequency,
            weight: it.score,
        })
    });
    Explanation {
        dense: dense.map(leg),
        sparse: sparse.map(leg),
        fused,
        exact: exact_terms,
        rerank,
        siblings,
        lead,
        freshness,
        proximity,
        diversity,
        terms: terms.collect(),
    }
}

fn to_failure(failed: FailedCollection) -> CollectionFailure {
    let error = failed.cause.unwrap_or_else(|| {
        match &*failed.reason {
            "not_served" => "the server has no pipeline file of it",
            "no_reranker" => "its pipeline file names no model for reranking",
            "no_sparse_vectors" => {
                "the collection has no sparse vectors, which the mode `sparse` needs"
            }
            _ => "the log of the server has the cause",
        }
        .to_owned()
    });
    CollectionFailure {
        requested: failed.name,
        lacks_sparse_vectors: failed.reason == "no_sparse_vectors",
        lacks_reranker: failed.reason == "no_reranker",
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_life_is_written_in_few_digits() {
        for written in ["90s", "10m", "2h", "180d", "999999d", "999999s"] {
            let duration = HumanDuration::try_from(written.to_owned()).expect("a duration");
            assert_eq!(human_duration(duration.as_secs()).as_secs(), duration.as_secs());
        }
        assert_eq!(human_duration(86_400_001).as_secs(), 86_400_000);
    }

    #[test]
    fn an_option_without_a_field_is_refused() {
        let overrides = SettingsOverrides { lead: Some(0.5), ..SettingsOverrides::default() };
        let request = Request { overrides, ..Request::new("question", Vec::new()) };
        assert_eq!(to_wire(&request, None).err(), Some("the weight of first chunks"));
    }
}
