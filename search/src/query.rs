//! A query, without a word of HTTP: words become a vector, the vector finds chunks.

use pipeline::{BoxError, Effort, Embedder, Hit, StoreError, TextKind, Tokenizer, VectorIndex};

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// In words, as a person asks.
    pub words: &'a str,
    /// How many hits are wanted.
    pub k: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// There is nothing in the query.
    #[error("the query is empty")]
    Empty,
    /// The query could not be turned into a vector.
    #[error("could not embed the query")]
    Embed(#[source] BoxError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The chunks most similar to the query, best first.
///
/// # Errors
/// See [`SearchError`].
pub async fn search(
    query: &Query<'_>,
    tokenizer: &dyn Tokenizer,
    embedder: &dyn Embedder,
    index: &dyn VectorIndex,
) -> Result<Vec<Hit>, SearchError> {
    let vector = embed(query.words, tokenizer, embedder)?;
    Ok(index.search(&vector, query.k, Effort::Indexed).await?)
}

/// A query longer than the model reads is cut: its beginning is what it is about.
fn embed(
    words: &str,
    tokenizer: &dyn Tokenizer,
    embedder: &dyn Embedder,
) -> Result<Vec<f32>, SearchError> {
    if words.trim().is_empty() {
        return Err(SearchError::Empty);
    }
    let question = tokenizer.read(words, TextKind::Query).map_err(SearchError::Embed)?;
    embedder.embed(&[&question.ids]).map_err(SearchError::Embed)
}
