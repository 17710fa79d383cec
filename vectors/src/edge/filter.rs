//! Filters in the form of Edge, which parses the JSON of the server's REST interface.

use pipeline::{Filter, NumericField, NumericRange};
use serde_json::{Map, Value, json};

use crate::payload;

/// Converts a filter to Edge's form.
pub(super) fn filter(filter: &Filter) -> qdrant_edge::Filter {
    let condition = json!({ "must": [condition(filter)] });
    serde_json::from_value(condition).expect("is a valid filter")
}

/// The points that have this named vector.
pub(super) fn has_vector(name: &str) -> qdrant_edge::Filter {
    let condition = json!({ "must": [{ "has_vector": name }] });
    serde_json::from_value(condition).expect("is a valid filter")
}

fn condition(filter: &Filter) -> Value {
    let all = |filters: &[Filter]| filters.iter().map(condition).collect::<Vec<_>>();
    match filter {
        Filter::All(filters) => json!({ "must": all(filters) }),
        // An empty list would match every point.
        Filter::Any(filters) if filters.is_empty() => json!({ "has_id": [] }),
        Filter::Any(filters) => json!({ "should": all(filters) }),
        Filter::Not(filter) => json!({ "must_not": [condition(filter)] }),
        Filter::In(_, values) if values.is_empty() => json!({ "has_id": [] }),
        Filter::In(field, values) => {
            json!({ "key": payload::keyword_path(*field), "match": { "any": values } })
        }
        Filter::Range(field, bounds) => {
            json!({ "key": payload::number_path(*field), "range": range(*field, bounds) })
        }
        Filter::Match(field, words) => {
            json!({ "key": payload::text_path(*field), "match": { "text": words } })
        }
        Filter::Matches(_, never) => match *never {},
    }
}

fn range(field: NumericField, bounds: &NumericRange) -> Value {
    let bound = |number: i64| match field {
        NumericField::ModifiedAt => payload::format_micros(number).map(Value::from),
        NumericField::Page | NumericField::ChunkIndex => Some(number.into()),
    };
    let named = [("gt", bounds.gt), ("gte", bounds.gte), ("lt", bounds.lt), ("lte", bounds.lte)];
    let given = named.into_iter().filter_map(|(name, it)| Some((name.to_owned(), bound(it?)?)));
    Value::Object(given.collect::<Map<_, _>>())
}
