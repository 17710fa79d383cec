//! Filterable fields, and the checks of points and queries before they reach a store. Independent
//! of any store.

use pipeline::{
    BoxError, IndexQuery, Legs, Point, Remedy, SparseVector, StoreError, VectorsConfig,
};

/// Name of the dense vector of a point. It is named so that sparse vectors can be added.
pub(crate) const DENSE: &str = "dense";

/// Name of the sparse vector of a point, in a collection with sparse vectors.
pub(crate) const SPARSE: &str = "sparse";

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
pub(crate) const DOCUMENT: &str = "document_id";

/// Field with the index of the chunk in its document.
pub(crate) const CHUNK_INDEX: &str = "chunk_index";

/// All fields that a filter may name. Each has an index, so that a filter never reads payloads.
pub(crate) static FILTERABLE: &[(&str, FieldKind)] = &[
    (DOCUMENT, FieldKind::Keyword),
    ("collection_id", FieldKind::Keyword),
    (CHUNK_INDEX, FieldKind::Integer),
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
enum Unfit {
    #[error("the vector has {found} dimensions, the collection {wanted}")]
    Dim { found: usize, wanted: usize },
    #[error("the vector has non-finite values")]
    NotFinite,
    #[error(
        "the collection `{name}` has vectors of {found} dimensions, the model produces {wanted}"
    )]
    Collection { name: String, found: usize, wanted: usize },
    #[error("the collection has no sparse vectors")]
    NoWords,
    #[error(
        "malformed sparse vector: expected strictly increasing indices with one finite value each"
    )]
    Unsound,
    #[error("a threshold requires a dense vector of the query")]
    NoMeasure,
    #[error("the collection `{0}` was created without sparse vectors")]
    MadeWithout(String),
}

/// The kinds of vectors of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Dimension of the dense vectors.
    pub(crate) dim: usize,
    /// `true` if points may have a sparse vector.
    pub(crate) sparse: bool,
}

impl Shape {
    /// Checks points against the collection before any of them is written.
    pub(crate) fn check_points(self, points: &[Point]) -> Result<(), StoreError> {
        let doing = "upsert points";
        points.iter().try_for_each(|point| {
            check_vector(doing, &point.vector, self.dim)?;
            point.sparse.as_ref().map_or(Ok(()), |words| self.check_words(doing, words))
        })
    }

    /// Checks a query against the collection.
    pub(crate) fn check_query(self, query: &IndexQuery) -> Result<(), StoreError> {
        let doing = SEARCHING;
        match &query.legs {
            Legs::Dense(vector) => check_vector(doing, vector, self.dim),
            Legs::Sparse { words, dense } => {
                if dense.is_none() && query.threshold.is_some() {
                    return Err(gives_up(doing, Unfit::NoMeasure));
                }
                dense.as_ref().map_or(Ok(()), |vector| check_vector(doing, vector, self.dim))?;
                self.check_words(doing, words)
            }
            Legs::Hybrid { dense, words, fusion: _ } => {
                check_vector(doing, dense, self.dim)?;
                self.check_words(doing, words)
            }
        }
    }

    fn check_words(self, doing: &'static str, words: &SparseVector) -> Result<(), StoreError> {
        if !self.sparse {
            return Err(gives_up(doing, Unfit::NoWords));
        }
        if words.is_sound() { Ok(()) } else { Err(gives_up(doing, Unfit::Unsound)) }
    }
}

/// Operation named by errors of a search.
pub(crate) const SEARCHING: &str = "search vectors";

/// Checks the dimension of a dense vector and that its values are finite.
pub(crate) fn check_vector(
    doing: &'static str,
    vector: &[f32],
    dim: usize,
) -> Result<(), StoreError> {
    if vector.len() != dim {
        return Err(gives_up(doing, Unfit::Dim { found: vector.len(), wanted: dim }));
    }
    if !vector.iter().all(|number| number.is_finite()) {
        return Err(gives_up(doing, Unfit::NotFinite));
    }
    Ok(())
}

/// Checks an existing collection against the requested settings. A collection with sparse vectors
/// keeps them, even if they are not requested.
pub(crate) fn check_collection(config: &VectorsConfig, found: Shape) -> Result<(), StoreError> {
    let name = config.name.clone();
    let unfit = if found.dim != config.dim {
        Unfit::Collection { name, found: found.dim, wanted: config.dim }
    } else if config.sparse && !found.sparse {
        Unfit::MadeWithout(name)
    } else {
        return Ok(());
    };
    Err(gives_up("open the vector collection", unfit))
}

/// An error that retries cannot resolve.
pub(crate) fn gives_up(doing: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError { doing, remedy: Remedy::GiveUp, source: source.into() }
}
