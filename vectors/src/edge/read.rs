//! Reads of a shard: searches, counts, and lists of points.

use std::collections::BTreeMap;

use async_trait::async_trait;
use pipeline::{
    Facet, Filter, IndexQuery, InspectedPoint, Inventory, KeywordField, Payload, Point, PointKey,
    RankedChunk, StoreError, VectorIndex,
};
use qdrant_edge::{
    CountRequest, EdgeShard, FacetRequest, FacetValue, PointId, Record, ScrollRequest,
    WithPayloadInterface, WithVector,
};
use uuid::Uuid;

use crate::edge::record::{parse_payload, point, point_key};
use crate::edge::{EdgeStore, filter, inspect, search};
use crate::page::{chunk_ids, documents_of, in_order, page_start};
use crate::shape::{
    COUNTING_TERMS, DENSE_VECTOR, DOCUMENT_FIELD, FETCHING, SEARCHING, SPARSE_VECTOR,
    permanent_error,
};
use crate::{payload, ranking};

impl EdgeStore {
    /// Points in order of id, `after` excluded.
    async fn records(
        &self,
        doing: &'static str,
        after: Option<Uuid>,
        limit: usize,
        payload: WithPayloadInterface,
        with_vector: WithVector,
    ) -> Result<Vec<Record>, StoreError> {
        let Some(from) = page_start(after) else { return Ok(Vec::new()) };
        let offset = from.map(PointId::Uuid);
        let (limit, with_payload) = (Some(limit), Some(payload));
        let (filter, order_by) = (None, None);
        let request = ScrollRequest { offset, limit, filter, with_payload, with_vector, order_by };
        Ok(self.shard.read(doing, move |shard| shard.scroll(request)).await?.0)
    }

    /// Number of points by value of a field, the most frequent first.
    async fn facets(
        &self,
        doing: &'static str,
        field: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Facet>, StoreError> {
        let request = FacetRequest {
            key: field.parse().expect("a field name is a path"),
            limit,
            filter: filter.map(filter::filter),
            exact: true,
        };
        let response = self.shard.read(doing, move |shard| shard.facet(request)).await?;
        let facets = response.hits.into_iter().map(|hit| match hit.value {
            FacetValue::Keyword(value) => Ok(Facet { value, count: hit.count as u64 }),
            FacetValue::Int(_) | FacetValue::Uuid(_) | FacetValue::Bool(_) => {
                Err(permanent_error(doing, "the value of a field is not a string"))
            }
        });
        // Edge may count a value that no point has any more, with zero.
        Ok(ranking::most_frequent(facets.collect::<Result<_, _>>()?, limit))
    }
}

#[async_trait]
impl VectorIndex for EdgeStore {
    async fn rank(&self, query: &IndexQuery) -> Result<Vec<RankedChunk>, StoreError> {
        let doing = SEARCHING;
        self.shape.check_query(query)?;
        ranking::rank_with_ties(query, |limit| async move {
            let request = search::query_request(query, self.quantization, limit);
            let found = self.shard.read(doing, move |shard| shard.query(request)).await?;
            let hits = found.into_iter().map(|it| search::ranked_chunk(it, &query.vectors));
            hits.map(|hit| hit.map_err(|e| permanent_error(doing, e))).collect()
        })
        .await
    }

    async fn fetch(&self, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        let doing = FETCHING;
        let wanted: Vec<PointId> = ids.iter().copied().map(PointId::Uuid).collect();
        let payload = Some(WithPayloadInterface::Bool(true));
        let vector = Some(WithVector::Selector(vec![DENSE_VECTOR.to_owned()]));
        let read = move |shard: &EdgeShard| shard.retrieve(&wanted, payload, vector);
        let records = self.shard.read(doing, read).await?.into_iter();
        let points = records.map(|record| point(record).map_err(|e| permanent_error(doing, e)));
        Ok(in_order(ids, points.collect::<Result<_, _>>()?))
    }

    async fn term_counts(&self, terms: &[u32]) -> Result<Vec<u64>, StoreError> {
        self.shape.check_terms()?;
        let wanted = terms.to_vec();
        let count = move |shard: &EdgeShard| {
            let filter = Some(filter::has_vector(SPARSE_VECTOR));
            let all = shard.count(CountRequest { filter, exact: true })? as u64;
            let count = |term: &u32| {
                let best = shard.query(search::term_request(*term))?.into_iter().next();
                let rarity = best.and_then(|point| search::rarity(&point, *term));
                Ok(rarity.map_or(0, |rarity| ranking::count_of_rarity(all, rarity)))
            };
            wanted.iter().map(count).collect()
        };
        self.shard.read(COUNTING_TERMS, count).await
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
        self.facets("count the values of a field", payload::keyword_path(field), filter, limit)
            .await
    }

    async fn chunks(
        &self,
        document: Uuid,
        from_chunk: u32,
        limit: u32,
    ) -> Result<Vec<Payload>, StoreError> {
        let doing = "read the chunks of a document";
        let ids: Vec<PointId> = chunk_ids(document, from_chunk, limit).map(PointId::Uuid).collect();
        let payload = Some(WithPayloadInterface::Bool(true));
        let read = move |shard: &EdgeShard| shard.retrieve(&ids, payload, None);
        let records = self.shard.read(doing, read).await?.into_iter();
        let payloads = records
            .map(|record| parse_payload(record.payload).map_err(|e| permanent_error(doing, e)));
        payloads.collect()
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let request = CountRequest { filter: None, exact: true };
        let count = self.shard.read("count points", move |shard| shard.count(request)).await?;
        Ok(count as u64)
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        let doing = "read points";
        let payload = WithPayloadInterface::Bool(true);
        let vector = WithVector::Bool(true);
        let records = self.records(doing, after, limit, payload, vector).await?;
        records
            .into_iter()
            .map(|record| point(record).map_err(|e| permanent_error(doing, e)))
            .collect()
    }
}

#[async_trait]
impl Inventory for EdgeStore {
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError> {
        let doing = "list the documents of the vector collection";
        // There are at most as many documents as points; Edge takes 0 as no limit.
        let limit = usize::try_from(self.count().await?.max(1)).unwrap_or(usize::MAX);
        documents_of(doing, self.facets(doing, DOCUMENT_FIELD, None, limit).await?)
    }

    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError> {
        let doing = "list points";
        let (payload, vector) = (search::key_fields(), WithVector::Bool(false));
        let records = self.records(doing, after, limit, payload, vector).await?;
        records
            .into_iter()
            .map(|record| point_key(record).map_err(|e| permanent_error(doing, e)))
            .collect()
    }

    async fn inspect(
        &self,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<InspectedPoint>, StoreError> {
        let doing = "check points";
        let everything = (WithPayloadInterface::Bool(true), WithVector::Bool(true));
        let found = self.records(doing, after, limit, everything.0.clone(), everything.1.clone());
        if let Ok(records) = found.await {
            return Ok(records
                .into_iter()
                .map(|it| inspect::inspect_record(it, self.shape))
                .collect());
        }
        // A point of the page cannot be read, so each one is read separately.
        let (no_payload, no_vector) = (WithPayloadInterface::Bool(false), WithVector::Bool(false));
        let mut inspected = Vec::new();
        for Record { id, .. } in self.records(doing, after, limit, no_payload, no_vector).await? {
            let (payload, vector) = everything.clone();
            let read = move |shard: &EdgeShard| shard.retrieve(&[id], Some(payload), Some(vector));
            inspected.push(match self.shard.read(doing, read).await {
                Ok(records) => match records.into_iter().next() {
                    Some(record) => inspect::inspect_record(record, self.shape),
                    None => inspect::unreadable_point(id, "is listed but cannot be read by its id"),
                },
                Err(error) => inspect::unreadable_point(id, error.source),
            });
        }
        Ok(inspected)
    }
}
