//! Values of the fields of a collection: the languages of its documents, and the values that the
//! patterns of a filter match. Reads go through the cache.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pipeline::{Facet, Filter, KeywordField, Remedy, StoreError};

use crate::blocking::{BlockingPool, CancelFlag, QueueFull};
use crate::caches::{GenerationVersion, SearchCaches};
use crate::glob::{PatternFilter, Patterns};
use crate::target::Target;

/// Maximum number of languages of a collection for which the words of a query are stemmed.
const MAX_LANGUAGES: usize = 8;

/// Maximum number of values of a field that a pattern is matched with, a limit for collections with
/// more documents than that.
const MAX_PATTERN_VALUES: usize = 5_000_000;

/// Maximum number of filters that are compiled or matched concurrently.
const MAX_CONCURRENT_FILTERS: usize = 2;

/// Maximum number of filters that wait.
const FILTER_QUEUE_LENGTH: usize = 1000;

/// The threads that compile and match the patterns of filters.
pub(crate) fn filter_pool() -> BlockingPool {
    BlockingPool::new(MAX_CONCURRENT_FILTERS, FILTER_QUEUE_LENGTH)
}

/// The error of a full [`filter_pool`].
pub(crate) fn queue_full_error(_: QueueFull) -> StoreError {
    let source = format!("{FILTER_QUEUE_LENGTH} filters already wait; retry later");
    StoreError { doing: "apply the filter", remedy: Remedy::Retry, source: source.into() }
}

/// The fields of one generation in the state `version`.
pub(crate) struct FieldReader<'a> {
    pub(crate) caches: &'a SearchCaches,
    pub(crate) target: &'a Target,
    pub(crate) version: &'a GenerationVersion,
}

impl FieldReader<'_> {
    /// The most frequent languages of the documents, the most frequent first.
    pub(crate) async fn languages(&self) -> Result<Vec<String>, StoreError> {
        let facets = self.values(KeywordField::Language).await?;
        Ok(facets.iter().take(MAX_LANGUAGES).map(|facet| facet.value.clone()).collect())
    }

    /// The values of a field, the most frequent first.
    pub(crate) async fn values(&self, field: KeywordField) -> Result<Arc<Vec<Facet>>, StoreError> {
        if let Some(known) = self.caches.facets(self.version, field) {
            return Ok(known);
        }
        let facets = Arc::new(self.target.index.facet(field, None, MAX_PATTERN_VALUES).await?);
        self.caches.insert_facets(self.version.clone(), field, &facets);
        Ok(facets)
    }

    /// The filter for the store: each pattern is replaced by the values that it matches. Values are
    /// matched on a thread of `pool`.
    pub(crate) async fn resolve(
        &self,
        filter: &PatternFilter,
        pool: &BlockingPool,
    ) -> Result<Filter, StoreError> {
        let fields: HashSet<KeywordField> =
            filter.patterns().into_iter().map(|(field, _)| field).collect();
        let mut values = HashMap::new();
        for field in fields {
            values.insert(field, self.values(field).await?);
        }
        if values.is_empty() {
            return Ok(filter.resolve(&|_, _| Vec::new()));
        }
        let filter = filter.clone();
        let work = move |cancelled: &CancelFlag| {
            filter.resolve(&|field, patterns: &Patterns| {
                patterns.matching(&values[&field], cancelled)
            })
        };
        pool.run(work).await.map_err(queue_full_error)
    }
}
