//! Reads of a collection of a server: searches, counts, and lists of points.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::future::try_join_all;
use pipeline::{
    Facet, Filter, IndexQuery, Inventory, KeywordField, Payload, Point, PointKey, RankedChunk,
    StoreError, VectorIndex,
};
use qdrant_client::qdrant::facet_value::Variant;
use qdrant_client::qdrant::{
    CountPointsBuilder, FacetCountsBuilder, GetPointsBuilder, PointId, RetrievedPoint,
    ScrollPointsBuilder,
};
use uuid::Uuid;

use crate::page::{chunk_ids, documents_of, in_order, page_start};
use crate::qdrant::calls::call_retrying;
use crate::qdrant::request::{parse_payload, point, point_key};
use crate::qdrant::{QdrantStore, filter, search};
use crate::shape::{
    COUNTING_TERMS, DENSE_VECTOR, DOCUMENT_FIELD, FETCHING, SEARCHING, SPARSE_VECTOR,
    permanent_error,
};
use crate::{payload, ranking};

impl QdrantStore {
    /// Points in order of id, `after` excluded.
    async fn retrieve(
        &self,
        doing: &'static str,
        after: Option<Uuid>,
        limit: usize,
        request: ScrollPointsBuilder,
    ) -> Result<Vec<RetrievedPoint>, StoreError> {
        let mut request = request.limit(u32::try_from(limit).unwrap_or(u32::MAX));
        let Some(from) = page_start(after) else { return Ok(Vec::new()) };
        if let Some(from) = from {
            request = request.offset(from.to_string());
        }
        let request = request.build();
        Ok(call_retrying(doing, || self.client.scroll(request.clone())).await?.result)
    }

    /// Number of points by value of a field, the most frequent first.
    async fn facets(
        &self,
        doing: &'static str,
        field: &str,
        conditions: Option<&Filter>,
        limit: u64,
    ) -> Result<Vec<Facet>, StoreError> {
        let mut request = FacetCountsBuilder::new(&self.name, field).limit(limit).exact(true);
        if let Some(conditions) = conditions {
            request = request.filter(filter::filter(conditions));
        }
        let request = request.build();
        let reply = call_retrying(doing, || self.client.facet(request.clone())).await?;
        let facets =
            reply.hits.into_iter().map(|hit| match hit.value.and_then(|value| value.variant) {
                Some(Variant::StringValue(value)) => Ok(Facet { value, count: hit.count }),
                Some(Variant::IntegerValue(_) | Variant::BoolValue(_)) | None => {
                    Err(permanent_error(doing, "the value of a field is not a string"))
                }
            });
        // Qdrant counts a value that no point has any more, with zero.
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(ranking::most_frequent(facets.collect::<Result<_, _>>()?, limit))
    }
}

#[async_trait]
impl VectorIndex for QdrantStore {
    async fn rank(&self, query: &IndexQuery) -> Result<Vec<RankedChunk>, StoreError> {
        let doing = SEARCHING;
        self.shape.check_query(query)?;
        ranking::rank_with_ties(query, |limit| async move {
            let request = search::query_request(&self.name, query, self.quantization, limit);
            let reply = call_retrying(doing, || self.client.query(request.clone())).await?;
            let hits = reply.result.into_iter();
            let hits = hits.map(|it| search::ranked_chunk(it, &query.vectors));
            hits.map(|hit| hit.map_err(|e| permanent_error(doing, e))).collect()
        })
        .await
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let doing = FETCHING;
        let wanted: Vec<PointId> = ids.iter().map(|id| id.to_string().into()).collect();
        let request = GetPointsBuilder::new(&self.name, wanted)
            .with_payload(true)
            .with_vectors(search::named_vector(DENSE_VECTOR))
            .build();
        let reply = call_retrying(doing, || self.client.get_points(request.clone())).await?;
        let points = reply.result.into_iter();
        let points = points.map(|it| point(it).map_err(|e| permanent_error(doing, e)));
        Ok(in_order(ids, points.collect::<Result<_, _>>()?))
    }

    async fn term_counts(&self, terms: &[u32]) -> Result<Vec<u64>, StoreError> {
        self.shape.check_terms()?;
        let doing = COUNTING_TERMS;
        let with_terms = filter::has_vector(SPARSE_VECTOR);
        let request = CountPointsBuilder::new(&self.name).filter(with_terms).exact(true).build();
        let reply = call_retrying(doing, || self.client.count(request.clone())).await?;
        let all = reply.result.map_or(0, |result| result.count);
        let counts = terms.iter().map(|&term| async move {
            let request = search::term_request(&self.name, term);
            let reply = call_retrying(doing, || self.client.query(request.clone())).await?;
            let best = reply.result.into_iter().next();
            let rarity = best.and_then(|point| search::rarity(&point, term));
            Ok(rarity.map_or(0, |rarity| ranking::count_of_rarity(all, rarity)))
        });
        try_join_all(counts).await
    }

    async fn facet(
        &self,
        field: KeywordField,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let doing = "count the values of a field";
        self.facets(doing, payload::keyword_path(field), filter, limit as u64).await
    }

    async fn chunks(
        &self,
        document: Uuid,
        from_chunk: u32,
        limit: u32,
    ) -> Result<Vec<Payload>, StoreError> {
        let doing = "read the chunks of a document";
        let ids: Vec<PointId> =
            chunk_ids(document, from_chunk, limit).map(|id| id.to_string().into()).collect();
        let request = GetPointsBuilder::new(&self.name, ids).with_payload(true).build();
        let reply = call_retrying(doing, || self.client.get_points(request.clone())).await?;
        let points = reply.result.into_iter();
        let payloads =
            points.map(|it| parse_payload(it.payload).map_err(|e| permanent_error(doing, e)));
        let mut payloads = payloads.collect::<Result<Vec<_>, _>>()?;
        payloads.sort_by_key(|payload| payload.chunk_index);
        Ok(payloads)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let request = CountPointsBuilder::new(&self.name).exact(true).build();
        let reply = call_retrying("count points", || self.client.count(request.clone())).await?;
        Ok(reply.result.map_or(0, |result| result.count))
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        let doing = "read points";
        let request = ScrollPointsBuilder::new(&self.name).with_payload(true).with_vectors(true);
        let points = self.retrieve(doing, after, limit, request).await?.into_iter();
        points.map(|it| point(it).map_err(|e| permanent_error(doing, e))).collect()
    }
}

#[async_trait]
impl Inventory for QdrantStore {
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError> {
        let doing = "list the documents of the vector collection";
        // There are at most as many documents as points; Qdrant takes 0 as no limit.
        let limit = self.count().await?.max(1);
        documents_of(doing, self.facets(doing, DOCUMENT_FIELD, None, limit).await?)
    }

    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError> {
        let doing = "list points";
        let request = ScrollPointsBuilder::new(&self.name)
            .with_payload(search::key_fields())
            .with_vectors(false);
        let points = self.retrieve(doing, after, limit, request).await?.into_iter();
        points.map(|it| point_key(it).map_err(|e| permanent_error(doing, e))).collect()
    }
}
