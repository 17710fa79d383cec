//! The lab as a vector index: what a search of the product finds for one question, with the
//! masked chunks and the parameters of a trial.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{
    Bm25fParameters, Facet, Filter, IndexQuery, KeywordField, Payload, Point, QueryVectors,
    RankedChunk, SparseVector, StoreError, VectorIndex,
};
use uuid::Uuid;

use crate::tuning::lab::Lab;
use crate::tuning::sparse_lab::Rarities;

/// The index for one question. Its dense ranking is that of the question, whatever vector is asked
/// for.
pub(crate) struct LabView {
    pub(crate) lab: Arc<Lab>,
    pub(crate) question: usize,
    pub(crate) trial: Arc<TrialWeights>,
}

/// Parameters of a trial with the inverse document frequencies that follow from them.
pub(crate) struct TrialWeights {
    pub(crate) parameters: Bm25fParameters,
    pub(crate) rarities: Rarities,
}

impl LabView {
    /// The payload of a chunk as this question sees it; `None` if it takes no part.
    fn payload(&self, chunk: usize) -> Option<&Payload> {
        let question = &self.lab.questions[self.question];
        match question.masked.iter().find(|masked| masked.chunk == chunk) {
            Some(masked) => masked.payload.as_ref(),
            None => Some(&self.lab.corpus.chunks[chunk].payload),
        }
    }

    fn sparse_ranking(&self, terms: &SparseVector, limit: usize) -> Vec<RankedChunk> {
        let Some(sparse) = self.lab.sparse() else { return Vec::new() };
        let TrialWeights { parameters, rarities } = &*self.trial;
        let ranking = sparse.rank_terms(self.question, &terms.indices, parameters, rarities, limit);
        self.lab.ranked(self.question, &ranking)
    }

    fn visible(&self) -> impl Iterator<Item = &Payload> {
        (0..self.lab.corpus.chunks.len()).filter_map(|chunk| self.payload(chunk))
    }
}

#[async_trait]
impl VectorIndex for LabView {
    async fn rank(&self, query: &IndexQuery) -> Result<Vec<RankedChunk>, StoreError> {
        let all = self.lab.corpus.chunks.len();
        // Without conditions, the best chunks are enough.
        let is_whole = query.filter.is_none() && query.min_similarity.is_none();
        let depth = if is_whole { query.limit } else { all };
        let mut ranking = match &query.vectors {
            QueryVectors::Dense(_) => self.lab.dense_ranking(self.question, depth),
            QueryVectors::Sparse { sparse, .. } => self.sparse_ranking(sparse, depth),
        };
        if let Some(filter) = &query.filter {
            let chunks = self.lab.chunks_by_id();
            ranking.retain(|it| {
                let payload = chunks.get(&it.id).and_then(|chunk| self.payload(*chunk));
                payload.is_some_and(|payload| filter.matches(payload))
            });
        }
        if let Some(least) = query.min_similarity {
            ranking.retain(|it| it.similarity.is_some_and(|similarity| similarity >= least));
        }
        ranking.truncate(query.limit);
        Ok(ranking)
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        let chunks = self.lab.chunks_by_id();
        let points = ids.iter().filter_map(|id| {
            let chunk = *chunks.get(id)?;
            let payload = self.payload(chunk)?.clone();
            let vector = self.lab.corpus.chunks[chunk].vector.clone();
            Some(Point { id: *id, vector, sparse: None, payload })
        });
        Ok(points.collect())
    }

    async fn term_counts(&self, terms: &[u32]) -> Result<Vec<u64>, StoreError> {
        let count = |term: &u32| {
            let sparse = self.lab.sparse();
            sparse.map_or(0, |it| it.chunks_with(*term, &self.trial.parameters))
        };
        Ok(terms.iter().map(count).collect())
    }

    async fn facet(
        &self,
        field: KeywordField,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for payload in self.visible().filter(|it| filter.is_none_or(|filter| filter.matches(it))) {
            for value in field.values(payload) {
                *counts.entry(value).or_default() += 1;
            }
        }
        let mut facets: Vec<Facet> =
            counts.into_iter().map(|(value, count)| Facet { value, count }).collect();
        facets.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        facets.truncate(limit);
        Ok(facets)
    }

    async fn chunks(
        &self,
        document: Uuid,
        from_chunk: u32,
        limit: u32,
    ) -> Result<Vec<Payload>, StoreError> {
        let Some(document) = self.lab.document(document) else { return Ok(Vec::new()) };
        let wanted = from_chunk..from_chunk.saturating_add(limit);
        let chunks = &self.lab.corpus.documents[document].chunks;
        let payloads = chunks.iter().filter_map(|chunk| self.payload(*chunk));
        Ok(payloads.filter(|it| wanted.contains(&it.chunk_index)).cloned().collect())
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.lab.corpus.chunks.len() as u64)
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        // The corpus is in the order of ids.
        let chunks = &self.lab.corpus.chunks;
        let start = after.map_or(0, |after| chunks.partition_point(|chunk| chunk.id <= after));
        let ids: Vec<Uuid> = chunks[start..].iter().map(|chunk| chunk.id).take(limit).collect();
        self.fetch(&ids).await
    }
}

/// Indices of chunks by the ids of their points.
pub(crate) type ChunksById = HashMap<Uuid, usize>;
