//! The fields that can be filtered on, and the check that points pass before any store sees them. Knows no store.

use pipeline::{
    BoxError, IndexQuery, Legs, Point, Remedy, SparseVector, StoreError, VectorsConfig,
};

/// Name of the dense vector of a point. It is named so that sparse vectors can stand beside it.
pub(crate) const DENSE: &str = "dense";

/// Name of the sparse vector of a point, in a collection that has them.
pub(crate) const SPARSE: &str = "sparse";

/// What is found in a field of the payload, and so which index serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// Compared as a whole.
    Keyword,
    /// Compared and ordered.
    Integer,
    /// RFC 3339, compared and ordered.
    Datetime,
    /// Found by its words.
    Text,
}

/// The field that a document's points have in common.
pub(crate) const DOCUMENT: &str = "document_id";

/// The field by which they differ.
pub(crate) const CHUNK_INDEX: &str = "chunk_index";

/// Every field that a filter may name. Each has an index, so that a filter never reads payloads.
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

/// A point or a query that does not fit the collection.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("a vector of {found} dimensions does not go into a collection of {wanted}")]
    Dim { found: usize, wanted: usize },
    #[error("the vector has numbers that are not finite")]
    NotFinite,
    #[error(
        "the collection `{name}` holds vectors of {found} dimensions, and the model makes {wanted}"
    )]
    Collection { name: String, found: usize, wanted: usize },
    #[error("the collection has no sparse vectors")]
    NoWords,
    #[error("a sparse vector has its dimensions twice, unordered, or without a number each")]
    Unsound,
    #[error("a threshold needs the question as a dense vector")]
    NoMeasure,
    #[error("the collection `{0}` was made without sparse vectors")]
    MadeWithout(String),
}

/// What the vectors of a collection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Length of the dense ones.
    pub(crate) dim: usize,
    /// Whether there are sparse ones.
    pub(crate) sparse: bool,
}

impl Shape {
    /// Refuses points that would not fit, before any of them is written.
    pub(crate) fn check_points(self, points: &[Point]) -> Result<(), StoreError> {
        let doing = "upsert points";
        points.iter().try_for_each(|point| {
            check_vector(doing, &point.vector, self.dim)?;
            point.sparse.as_ref().map_or(Ok(()), |words| self.check_words(doing, words))
        })
    }

    /// Refuses a question that the collection cannot answer.
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

/// What a store was doing that could not answer a question.
pub(crate) const SEARCHING: &str = "search vectors";

/// Refuses a vector that the collection cannot compare with its own.
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

/// Refuses to open a collection that was made for other vectors. One that has sparse vectors keeps them, whoever
/// opens it.
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

/// An error that will not go away by itself.
pub(crate) fn gives_up(doing: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError { doing, remedy: Remedy::GiveUp, source: source.into() }
}
