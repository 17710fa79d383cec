//! Filters in the form of the Qdrant client.

use chrono::{DateTime, Timelike as _};
use pipeline::{Filter, NumericField, NumericRange};
use qdrant_client::qdrant::{
    Condition, DatetimeRange, Filter as QdrantFilter, PointId, Range, Timestamp,
};

use crate::payload;

/// Converts a filter to the client's form.
pub(super) fn filter(filter: &Filter) -> QdrantFilter {
    QdrantFilter::must([condition(filter)])
}

/// The points that have this named vector.
pub(super) fn has_vector(name: &str) -> QdrantFilter {
    QdrantFilter::must([Condition::has_vector(name)])
}

fn condition(filter: &Filter) -> Condition {
    let all = |filters: &[Filter]| filters.iter().map(condition).collect::<Vec<_>>();
    match filter {
        Filter::All(filters) => QdrantFilter::must(all(filters)).into(),
        // An empty list would match every point.
        Filter::Any(filters) if filters.is_empty() => match_none(),
        Filter::Any(filters) => QdrantFilter::should(all(filters)).into(),
        Filter::Not(filter) => QdrantFilter::must_not([condition(filter)]).into(),
        Filter::In(_, values) if values.is_empty() => match_none(),
        Filter::In(field, values) => {
            Condition::matches(payload::keyword_path(*field), values.clone())
        }
        Filter::Range(NumericField::ModifiedAt, bounds) => Condition::datetime_range(
            payload::number_path(NumericField::ModifiedAt),
            datetime_range(bounds),
        ),
        Filter::Range(field, bounds) => {
            Condition::range(payload::number_path(*field), range(bounds))
        }
        Filter::Match(field, words) => Condition::matches_text(payload::text_path(*field), words),
        Filter::Matches(_, never) => match *never {},
    }
}

fn match_none() -> Condition {
    Condition::has_id(std::iter::empty::<PointId>())
}

fn range(bounds: &NumericRange) -> Range {
    #[expect(clippy::cast_precision_loss, reason = "page and chunk numbers are small")]
    let bound = |number: Option<i64>| number.map(|number| number as f64);
    Range {
        gt: bound(bounds.gt),
        gte: bound(bounds.gte),
        lt: bound(bounds.lt),
        lte: bound(bounds.lte),
    }
}

fn datetime_range(bounds: &NumericRange) -> DatetimeRange {
    let bound = |micros: Option<i64>| {
        let instant = DateTime::from_timestamp_micros(micros?)?;
        let nanos = i32::try_from(instant.nanosecond()).ok()?;
        Some(Timestamp { seconds: instant.timestamp(), nanos })
    };
    DatetimeRange {
        gt: bound(bounds.gt),
        gte: bound(bounds.gte),
        lt: bound(bounds.lt),
        lte: bound(bounds.lte),
    }
}
