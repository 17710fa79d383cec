//! Replaces the patterns of a condition by the values of a collection that they match.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pipeline::{Facet, Filter, KeywordField};

use crate::blocking::CancelFlag;
use crate::filter::Condition;
use crate::glob::Patterns;

/// The values of the fields with patterns.
pub(crate) type FieldValues = HashMap<KeywordField, Arc<Vec<Facet>>>;

/// Number of values matched between two checks of the cancellation flag.
const CANCEL_CHECK_INTERVAL: usize = 1000;

impl Condition {
    /// The fields with patterns.
    pub(crate) fn pattern_fields(&self) -> HashSet<KeywordField> {
        match self {
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.iter().flat_map(Self::pattern_fields).collect()
            }
            Self::Not(condition) => condition.pattern_fields(),
            Self::Matches(field, _) => HashSet::from([*field]),
            Self::OneOf(..) | Self::Within(..) | Self::ContainsWords(..) => HashSet::new(),
        }
    }

    /// The filter for a collection with these values. Slow for many values; the result is
    /// incomplete if it was cancelled.
    pub(crate) fn resolve(&self, values: &FieldValues, cancelled: &CancelFlag) -> Filter {
        let all = |conditions: &[Self]| {
            conditions.iter().map(|it| it.resolve(values, cancelled)).collect::<Vec<_>>()
        };
        match self {
            Self::All(conditions) => Filter::All(all(conditions)),
            Self::Any(conditions) => Filter::Any(all(conditions)),
            Self::Not(condition) => Filter::Not(Box::new(condition.resolve(values, cancelled))),
            Self::OneOf(field, values) => Filter::In(*field, values.clone()),
            Self::Within(field, bounds) => Filter::Range(*field, *bounds),
            Self::ContainsWords(field, words) => Filter::Match(*field, words.clone()),
            Self::Matches(field, patterns) => {
                let of_field = values.get(field).map_or(&[][..], |values| values);
                Filter::In(*field, matching_values(of_field, patterns, cancelled))
            }
        }
    }
}

fn matching_values(facets: &[Facet], patterns: &Patterns, cancelled: &CancelFlag) -> Vec<String> {
    let parts = facets.chunks(CANCEL_CHECK_INTERVAL).take_while(|_| !cancelled.is_set());
    let values = parts.flatten().map(|facet| &facet.value);
    values.filter(|value| patterns.match_one(value)).cloned().collect()
}
