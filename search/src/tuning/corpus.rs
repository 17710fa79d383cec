//! The chunks of a generation in memory, read once and grouped by document.

use std::collections::HashMap;

use pipeline::{Payload, StoreError, VectorIndex};
use uuid::Uuid;

use crate::tuning::chance::hash_share;

/// Points per call of the store.
const PAGE: usize = 1_000;

/// The chunks that take part, with vectors of length 1.
pub(crate) struct Corpus {
    /// In the order of their ids, as the store returns them.
    pub(crate) chunks: Vec<CorpusChunk>,
    /// In the order of their URIs, so that nothing depends on random ids.
    pub(crate) documents: Vec<CorpusDocument>,
    /// Number of chunks in the store.
    pub(crate) stored: u64,
}

/// A chunk.
pub(crate) struct CorpusChunk {
    pub(crate) id: Uuid,
    pub(crate) payload: Payload,
    /// Dense vector, normalised.
    pub(crate) vector: Vec<f32>,
    /// Index of its document in [`Corpus::documents`].
    pub(crate) document: usize,
}

/// A document with its chunks in text order.
pub(crate) struct CorpusDocument {
    pub(crate) uri: String,
    /// Indices in [`Corpus::chunks`].
    pub(crate) chunks: Vec<usize>,
}

impl Corpus {
    /// Reads all points, or whole documents that hold about `limit` chunks together if the store
    /// has more. Documents whose URI is `kept` always take part.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn read(
        index: &dyn VectorIndex,
        limit: usize,
        seed: u64,
        kept: impl Fn(&str) -> bool,
    ) -> Result<Self, StoreError> {
        let stored = index.count().await?;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = if stored <= limit as u64 { 1.0 } else { limit as f64 / stored as f64 };
        let mut points = Vec::new();
        let mut after = None;
        loop {
            let page = index.scroll(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            points.extend(page.into_iter().filter(|point| {
                let uri = point.payload.uri.as_str();
                share >= 1.0 || hash_share(seed, &["sample", uri]) < share || kept(uri)
            }));
        }
        let mut uris: Vec<(String, Uuid)> =
            points.iter().map(|it| (it.payload.uri.clone(), it.payload.document)).collect();
        uris.sort_unstable();
        uris.dedup();
        let places: HashMap<Uuid, usize> =
            uris.iter().enumerate().map(|(at, (_, document))| (*document, at)).collect();
        let mut documents: Vec<CorpusDocument> =
            uris.into_iter().map(|(uri, _)| CorpusDocument { uri, chunks: Vec::new() }).collect();
        let mut chunks = Vec::with_capacity(points.len());
        for mut point in points {
            let document = places[&point.payload.document];
            normalize(&mut point.vector);
            documents[document].chunks.push(chunks.len());
            chunks.push(CorpusChunk {
                id: point.id,
                payload: point.payload,
                vector: point.vector,
                document,
            });
        }
        for document in &mut documents {
            document.chunks.sort_unstable_by_key(|&chunk| chunks[chunk].payload.chunk_index);
        }
        Ok(Self { chunks, documents, stored })
    }
}

/// Scales a vector to length 1; a zero vector stays zero.
pub(crate) fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|it| it * it).sum::<f32>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|it| *it /= norm);
    }
}
