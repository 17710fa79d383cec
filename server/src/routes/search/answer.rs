//! The answer to a search, as JSON types.

use std::time::Duration;

use chrono::DateTime;
use search::{CollectionResult, Correction, Explanation, Leg, SearchMode, SearchResults, title};

use crate::wire::{
    Collection, ExplainedTerm, FailedCollection, Mode, RankingPlace, SearchAnswer,
    SearchExplanation, SearchHit, SearchTimings, SearchedCollection, SpellingCorrection,
    group_by_key, to_character_ranges,
};

pub(super) fn failed_collection(
    collection: &Collection,
    reason: &str,
    cause: Option<&str>,
) -> FailedCollection {
    FailedCollection {
        collection: collection.id,
        name: collection.name.clone(),
        reason: reason.to_owned(),
        cause: cause.map(str::to_owned),
    }
}

pub(super) fn empty_answer() -> SearchAnswer {
    let timings = SearchTimings::default();
    SearchAnswer {
        hits: Vec::new(),
        nothing_near: false,
        next: None,
        corrections: Vec::new(),
        searched: Vec::new(),
        failed: Vec::new(),
        timings,
    }
}

fn explanation(explanation: &Explanation) -> SearchExplanation {
    let Explanation {
        dense,
        sparse,
        fused,
        exact,
        siblings,
        lead,
        freshness,
        proximity,
        diversity,
        rerank,
        terms,
    } = explanation;
    let place = |leg: &Leg| RankingPlace { rank: leg.rank, score: leg.score };
    let terms = terms.iter().map(|it| ExplainedTerm {
        term: it.term.clone(),
        field: it.field.name().to_owned(),
        frequency: it.frequency,
        score: it.weight,
    });
    SearchExplanation {
        dense: dense.as_ref().map(place),
        sparse: sparse.as_ref().map(place),
        fused: *fused,
        exact_terms: exact.clone(),
        rerank: *rerank,
        siblings: *siblings,
        lead: *lead,
        freshness: *freshness,
        proximity: *proximity,
        diversity: *diversity,
        terms: terms.collect(),
    }
}

fn spelling_correction(correction: &Correction) -> SpellingCorrection {
    let Correction { typed, used, alternatives } = correction.clone();
    SpellingCorrection { typed, used, alternatives }
}

pub(super) fn to_wire(found: &SearchResults, failed: Vec<FailedCollection>) -> SearchAnswer {
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let hits = found.hits.iter().map(|hit| {
        let CollectionResult { name, collection, .. } = &found.searched[hit.collection_index];
        let payload = &hit.payload;
        SearchHit {
            collection: *collection,
            collection_name: name.clone(),
            score: hit.score,
            similarity: hit.similarity,
            explanation: hit.explanation.as_ref().map(explanation),
            highlights: to_character_ranges(&payload.content, &hit.highlights),
            text: payload.content.clone(),
            document: payload.document,
            chunk_index: payload.chunk_index,
            chunks: hit.chunks.clone(),
            uri: payload.uri.clone(),
            title: Some(title::display_title(payload.title.as_deref(), &payload.uri)),
            headings: payload.headings.clone(),
            page: payload.page,
            start: payload.start,
            end: payload.end,
            mime_type: payload.mime_type.clone(),
            language: payload.language.clone(),
            modified_at: payload.modified_at.and_then(DateTime::from_timestamp_micros),
            source: payload.source.clone(),
            metadata: group_by_key(&payload.facts),
        }
    });
    let searched = found.searched.iter().map(|it| SearchedCollection {
        collection: it.collection,
        name: it.name.clone(),
        generation: it.generation,
        mode: match it.mode {
            SearchMode::Dense => Mode::Dense,
            SearchMode::Sparse => Mode::Sparse,
            SearchMode::Hybrid => Mode::Hybrid,
        },
    });
    SearchAnswer {
        hits: hits.collect(),
        nothing_near: found.nothing_near,
        next: found.cursor.clone(),
        corrections: found.corrections.iter().map(spelling_correction).collect(),
        searched: searched.collect(),
        failed,
        timings: SearchTimings {
            total_ms: ms(found.timings.total),
            embed_ms: ms(found.timings.embed),
            store_ms: ms(found.timings.store),
            rerank_ms: ms(found.timings.rerank),
            own_ms: ms(found.timings.overhead()),
        },
    }
}
