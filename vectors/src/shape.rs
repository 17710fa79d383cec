//! Filterable fields, and the checks of points and queries before they reach a store. Independent
//! of any store.

use pipeline::{
    BoxError, IndexQuery, Point, QueryVectors, Remedy, SparseVector, StoreError, VectorsConfig,
};

/// Name of the dense vector of a point. It is named so that sparse vectors can be added.
pub(crate) const DENSE_VECTOR: &str = "dense";

/// Name of the sparse vector of a point, in a collection with sparse vectors.
pub(crate) const SPARSE_VECTOR: &str = "sparse";

/// Kind of a payload field, which determines its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// Compared as a whole.
    Keyword,
    /// Compared and ordered.
    Integer,
    /// RFC 3339, compared and ordered.
    Datetime,
    /// Full-text search.
    Text,
}

/// Field with the document id, common to all points of a document.
pub(crate) const DOCUMENT_FIELD: &str = "document_id";

/// Field with the index of the chunk in its document.
pub(crate) const CHUNK_INDEX_FIELD: &str = "chunk_index";

/// All fields that a filter may name. Each has an index, so that a filter never reads payloads.
pub(crate) static FILTERABLE: &[(&str, FieldKind)] = &[
    (DOCUMENT_FIELD, FieldKind::Keyword),
    ("collection_id", FieldKind::Keyword),
    (CHUNK_INDEX_FIELD, FieldKind::Integer),
    ("metadata.source_path", FieldKind::Keyword),
    ("metadata.source", FieldKind::Keyword),
    ("metadata.mime_type", FieldKind::Keyword),
    ("metadata.language", FieldKind::Keyword),
    ("metadata.page", FieldKind::Integer),
    ("metadata.modified_at", FieldKind::Datetime),
    ("metadata.title", FieldKind::Text),
    ("metadata.headings", FieldKind::Text),
    ("metadata.facts", FieldKind::Keyword),
];

/// A mismatch between a point or query and the collection.
#[derive(Debug, thiserror::Error)]
enum VectorError {
    #[error("the vector has {found} dimensions, the collection {wanted}")]
    DimensionMismatch { found: usize, wanted: usize },
    #[error("the vector has non-finite values")]
    NotFinite,
    #[error(
        "the collection `{name}` has vectors of {found} dimensions, the model produces {wanted}"
    )]
    CollectionDimension { name: String, found: usize, wanted: usize },
    #[error("the collection has no sparse vectors")]
    NoSparseVectors,
    #[error(
        "malformed sparse vector: expected strictly increasing indices with one finite value each"
    )]
    InvalidSparseVector,
    #[error("a threshold requires a dense vector of the query")]
    ThresholdWithoutDense,
    #[error("the collection `{0}` was created without sparse vectors")]
    CreatedWithoutSparse(String),
}

/// The kinds of vectors of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VectorLayout {
    /// Dimension of the dense vectors.
    pub(crate) dim: usize,
    /// `true` if points may have a sparse vector.
    pub(crate) sparse: bool,
}

impl VectorLayout {
    /// Checks points against the collection before any of them is written.
    pub(crate) fn check_points(self, points: &[Point]) -> Result<(), StoreError> {
        let doing = "upsert points";
        points.iter().try_for_each(|point| {
            check_vector(doing, &point.vector, self.dim)?;
            point.sparse.as_ref().map_or(Ok(()), |words| self.check_sparse(doing, words))
        })
    }

    /// Checks a query against the collection.
    pub(crate) fn check_query(self, query: &IndexQuery) -> Result<(), StoreError> {
        let doing = SEARCHING;
        match &query.vectors {
            QueryVectors::Dense(vector) => check_vector(doing, vector, self.dim),
            QueryVectors::Sparse { sparse: words, dense } => {
                if dense.is_none() && query.min_similarity.is_some() {
                    return Err(permanent_error(doing, VectorError::ThresholdWithoutDense));
                }
                dense.as_ref().map_or(Ok(()), |vector| check_vector(doing, vector, self.dim))?;
                self.check_sparse(doing, words)
            }
        }
    }

    /// Checks that the collection has sparse vectors whose terms can be counted.
    pub(crate) fn check_terms(self) -> Result<(), StoreError> {
        self.check_sparse(COUNTING_TERMS, &SparseVector::default())
    }

    fn check_sparse(self, doing: &'static str, words: &SparseVector) -> Result<(), StoreError> {
        if !self.sparse {
            return Err(permanent_error(doing, VectorError::NoSparseVectors));
        }
        if words.is_valid() {
            Ok(())
        } else {
            Err(permanent_error(doing, VectorError::InvalidSparseVector))
        }
    }
}

/// Operation named by errors of a search.
pub(crate) const SEARCHING: &str = "search vectors";

/// Operation named by errors of counting the chunks with a term.
pub(crate) const COUNTING_TERMS: &str = "count the chunks with a term";

/// Operation named by errors of reading points by their ids.
pub(crate) const FETCHING: &str = "read the found points";

/// Checks the dimension of a dense vector and that its values are finite.
pub(crate) fn check_vector(
    doing: &'static str,
    vector: &[f32],
    dim: usize,
) -> Result<(), StoreError> {
    if vector.len() != dim {
        return Err(permanent_error(
            doing,
            VectorError::DimensionMismatch { found: vector.len(), wanted: dim },
        ));
    }
    if !vector.iter().all(|number| number.is_finite()) {
        return Err(permanent_error(doing, VectorError::NotFinite));
    }
    Ok(())
}

/// Checks an existing collection against the requested settings. A collection with sparse vectors
/// keeps them, even if they are not requested.
pub(crate) fn check_collection(
    config: &VectorsConfig,
    found: VectorLayout,
) -> Result<(), StoreError> {
    let name = config.name.clone();
    let unfit = if found.dim != config.dim {
        VectorError::CollectionDimension { name, found: found.dim, wanted: config.dim }
    } else if config.sparse && !found.sparse {
        VectorError::CreatedWithoutSparse(name)
    } else {
        return Ok(());
    };
    Err(permanent_error("open the vector collection", unfit))
}

/// An error that retries cannot resolve.
pub(crate) fn permanent_error(doing: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError { doing, remedy: Remedy::GiveUp, source: source.into() }
}
