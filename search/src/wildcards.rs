//! Replaces the patterns of a condition by the values of a collection that they match.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pipeline::{Facet, Filter, Keyword};

use crate::blocking::Cancelled;
use crate::filter::Condition;
use crate::glob::Patterns;

/// The values of the fields with patterns.
pub(crate) type Values = HashMap<Keyword, Arc<Vec<Facet>>>;

/// Number of values matched between two checks of the cancellation flag.
const CANCELLABLE: usize = 1000;

impl Condition {
    /// The fields with patterns.
    pub(crate) fn matched_fields(&self) -> HashSet<Keyword> {
        match self {
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.iter().flat_map(Self::matched_fields).collect()
            }
            Self::Not(condition) => condition.matched_fields(),
            Self::Matches(field, _) => HashSet::from([*field]),
            Self::Is(..) | Self::Within(..) | Self::Says(..) => HashSet::new(),
        }
    }

    /// The filter for a collection with these values. Slow for many values; the result is
    /// incomplete if it was cancelled.
    pub(crate) fn resolved(&self, values: &Values, cancelled: &Cancelled) -> Filter {
        let all = |conditions: &[Self]| {
            conditions.iter().map(|it| it.resolved(values, cancelled)).collect::<Vec<_>>()
        };
        match self {
            Self::All(conditions) => Filter::All(all(conditions)),
            Self::Any(conditions) => Filter::Any(all(conditions)),
            Self::Not(condition) => Filter::Not(Box::new(condition.resolved(values, cancelled))),
            Self::Is(field, values) => Filter::Is(*field, values.clone()),
            Self::Within(field, bounds) => Filter::Within(*field, *bounds),
            Self::Says(field, words) => Filter::Says(*field, words.clone()),
            Self::Matches(field, patterns) => {
                let of_field = values.get(field).map_or(&[][..], |values| values);
                Filter::Is(*field, matching(of_field, patterns, cancelled))
            }
        }
    }
}

fn matching(facets: &[Facet], patterns: &Patterns, cancelled: &Cancelled) -> Vec<String> {
    let parts = facets.chunks(CANCELLABLE).take_while(|_| !cancelled.is_set());
    let values = parts.flatten().map(|facet| &facet.value);
    values.filter(|value| patterns.match_one(value)).cloned().collect()
}
