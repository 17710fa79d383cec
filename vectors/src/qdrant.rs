//! A Qdrant server or cluster, over gRPC.
//!
//! Collection settings, points and filters are those of `edge.rs`, so that the same search returns
//! the same hits. Every write waits until the server has applied it, and the log of the server
//! survives a crash, so `flush` has nothing to do. Calls that fail with a transient error are
//! retried (`retry.rs`), with fewer concurrent writes if the server is overloaded
//! (`qdrant/limiter.rs`); the client reconnects after a lost connection.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use pipeline::{
    DocumentLocation, Facet, Filter, Hit, IndexQuery, KeywordField, Point, Secret, StoreError,
    VectorIndex, VectorStore, point_id,
};
use qdrant_client::qdrant::facet_value::Variant;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, DeletePointsBuilder, FacetCountsBuilder, Filter as QdrantFilter,
    GetPointsBuilder, PayloadIncludeSelector, PointId, PointStruct, Range, RetrievedPoint,
    ScrollPointsBuilder, SetPayloadPointsBuilder, UpsertPointsBuilder,
};
use qdrant_client::{Payload, Qdrant, QdrantError};
use uuid::Uuid;

use crate::qdrant::calls::{call_retrying, connect_retrying};
use crate::qdrant::error::congestion_delay;
use crate::qdrant::limiter::WriteLimiter;
use crate::qdrant::request::{parse_payload, point, point_key, point_struct, split_requests};
use crate::shape::{CHUNK_INDEX_FIELD, DOCUMENT_FIELD, SEARCHING, VectorLayout, permanent_error};
use crate::{payload, ranking};
use pipeline::{Inventory, PointKey, Quantization, VectorsConfig};

mod calls;
mod collection;
mod error;
mod filter;
mod limiter;
mod request;
mod search;

/// Timeout of one call. A write waits for the server, which may be busy building an index.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Timeout for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Concurrent writes, as long as the server is not overloaded.
const MAX_CONCURRENT_WRITES: usize = 8;

/// Bytes of one request; a server accepts 32 MiB by default.
const MAX_REQUEST_BYTES: usize = 24 << 20;

/// API version (major, minor) of the client; compatible servers differ by at most one minor
/// version.
const CLIENT_VERSION: (u64, u64) = (1, 18);

/// A vector store in a collection of a Qdrant server.
pub struct QdrantStore {
    client: Qdrant,
    name: String,
    shape: VectorLayout,
    quantization: Quantization,
    limiter: WriteLimiter,
}

impl QdrantStore {
    /// Connects to the server at `url` (`http://…:6334`, or `https://…` for TLS) and creates the
    /// collection if it is missing. A server that cannot be reached, or that speaks another
    /// protocol, is an error without retries.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses the key, or has a collection of this name whose
    /// vectors have another shape.
    pub async fn connect(
        url: &str,
        api_key: Option<&Secret>,
        config: &VectorsConfig,
    ) -> Result<Self, StoreError> {
        let client = client(url, api_key)?;
        let mut store = Self {
            client,
            name: config.name.clone(),
            shape: VectorLayout { dim: config.dim, sparse: config.sparse },
            quantization: config.quantization,
            limiter: WriteLimiter::new(MAX_CONCURRENT_WRITES),
        };
        let version =
            connect_retrying(url, "reach the Qdrant server", || store.client.health_check());
        let version = version.await?.version;
        if !is_compatible(&version) {
            let (major, minor) = CLIENT_VERSION;
            tracing::warn!(
                server = version,
                "the Qdrant server is incompatible with client {major}.{minor}: use a server at \
                 most one minor version apart"
            );
        }
        store.shape = collection::ensure_collection(&store.client, config).await?;
        Ok(store)
    }

    /// Returns true if a collection of this name exists.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn exists(
        url: &str,
        api_key: Option<&Secret>,
        name: &str,
    ) -> Result<bool, StoreError> {
        let client = client(url, api_key)?;
        connect_retrying(url, "look for the vector collection", || client.collection_exists(name))
            .await
    }

    /// Deletes a collection; a missing one is ignored.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn delete(url: &str, api_key: Option<&Secret>, name: &str) -> Result<(), StoreError> {
        let client = client(url, api_key)?;
        let doing = "delete the vector collection";
        connect_retrying(url, doing, || client.delete_collection(name)).await.map(drop)
    }

    /// Points in order of id, `after` excluded.
    async fn retrieve(
        &self,
        doing: &'static str,
        after: Option<Uuid>,
        limit: usize,
        request: ScrollPointsBuilder,
    ) -> Result<Vec<RetrievedPoint>, StoreError> {
        let mut request = request.limit(u32::try_from(limit).unwrap_or(u32::MAX));
        // Qdrant includes the id of the offset. No id lies between an id and its successor.
        match after.map(|after| after.as_u128().checked_add(1)) {
            Some(None) => return Ok(Vec::new()),
            Some(Some(from)) => request = request.offset(Uuid::from_u128(from).to_string()),
            None => {}
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

    async fn upsert_request(&self, points: Vec<PointStruct>) -> Result<(), StoreError> {
        let request = UpsertPointsBuilder::new(&self.name, points).wait(true).build();
        self.write("upsert points", || self.client.upsert_points(request.clone())).await
    }

    async fn delete_points(&self, filter: QdrantFilter) -> Result<(), StoreError> {
        let request = DeletePointsBuilder::new(&self.name).points(filter).wait(true).build();
        self.write("delete points", || self.client.delete_points(request.clone())).await
    }

    /// Makes a write call, with retries, and reports congestion to the limiter.
    async fn write<T, Fut>(
        &self,
        doing: &'static str,
        call: impl Fn() -> Fut,
    ) -> Result<(), StoreError>
    where
        Fut: Future<Output = Result<T, QdrantError>>,
    {
        call_retrying(doing, || async {
            let permit = self.limiter.acquire().await;
            let reply = call().await;
            let congestion = reply.as_ref().err().and_then(congestion_delay);
            self.limiter.release(permit, congestion.is_some());
            if let Some(wait) = congestion {
                tokio::time::sleep(wait).await;
            }
            reply.map(drop)
        })
        .await
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        self.shape.check_points(&points)?;
        let requests = split_requests(points, MAX_REQUEST_BYTES).into_iter();
        let requests = requests
            .map(|points| self.upsert_request(points.into_iter().map(point_struct).collect()));
        stream::iter(requests).buffer_unordered(MAX_CONCURRENT_WRITES).try_collect().await
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        let from = Range { gte: Some(from_chunk.into()), ..Range::default() };
        self.delete_points(QdrantFilter::must([
            Condition::matches(DOCUMENT_FIELD, document.to_string()),
            Condition::range(CHUNK_INDEX_FIELD, from),
        ]))
        .await
    }

    async fn update_location(
        &self,
        document: Uuid,
        place: &DocumentLocation,
    ) -> Result<(), StoreError> {
        let place = Payload::from(payload::location_to_json(place));
        let of_document =
            QdrantFilter::must([Condition::matches(DOCUMENT_FIELD, document.to_string())]);
        let request = SetPayloadPointsBuilder::new(&self.name, place)
            .points_selector(of_document)
            .key(payload::METADATA_FIELD)
            .wait(true)
            .build();
        self.write("change the place of points", || self.client.set_payload(request.clone())).await
    }

    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let documents: Vec<String> = documents.iter().map(Uuid::to_string).collect();
        self.delete_points(QdrantFilter::must([Condition::matches(DOCUMENT_FIELD, documents)]))
            .await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VectorIndex for QdrantStore {
    async fn query(&self, query: &IndexQuery) -> Result<Vec<Hit>, StoreError> {
        let doing = SEARCHING;
        self.shape.check_query(query)?;
        ranking::fetch_with_ties(query, |limit| async move {
            let request = search::query_request(&self.name, query, self.quantization, limit);
            let reply = call_retrying(doing, || self.client.query(request.clone())).await?;
            let hits = reply.result.into_iter().map(|it| search::hit(it, &query.vectors));
            hits.map(|hit| hit.map_err(|e| permanent_error(doing, e))).collect()
        })
        .await
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
    ) -> Result<Vec<pipeline::Payload>, StoreError> {
        let doing = "read the chunks of a document";
        let indices = from_chunk..from_chunk.saturating_add(limit);
        let ids: Vec<PointId> =
            indices.map(|index| point_id(document, index).to_string().into()).collect();
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
        let documents = self.facets(doing, DOCUMENT_FIELD, None, limit).await?.into_iter();
        let documents = documents.map(|Facet { value, count }| {
            let id = value.parse::<Uuid>().map_err(|e| permanent_error(doing, e))?;
            Ok((id, count))
        });
        documents.collect()
    }

    async fn keys(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<PointKey>, StoreError> {
        let doing = "list points";
        let fields = PayloadIncludeSelector {
            fields: [DOCUMENT_FIELD, CHUNK_INDEX_FIELD].map(str::to_owned).to_vec(),
        };
        let request = ScrollPointsBuilder::new(&self.name).with_payload(fields).with_vectors(false);
        let points = self.retrieve(doing, after, limit, request).await?.into_iter();
        points.map(|it| point_key(it).map_err(|e| permanent_error(doing, e))).collect()
    }
}

fn client(url: &str, api_key: Option<&Secret>) -> Result<Qdrant, StoreError> {
    let doing = "connect to the Qdrant server";
    // The error of the client would contain the key.
    let printable = |key: &Secret| key.reveal().bytes().all(|byte| matches!(byte, 0x20..0x7f));
    if !api_key.is_none_or(printable) {
        return Err(permanent_error(
            doing,
            "the API key contains characters other than printable ASCII",
        ));
    }
    let client = Qdrant::from_url(url)
        .timeout(CALL_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .api_key(api_key.map(|key| key.reveal().to_owned()))
        // The client would print the warning to standard output; `connect` logs it instead.
        .skip_compatibility_check()
        .build()
        // The parser's message may quote the URL.
        .map_err(|_| {
            permanent_error(
                doing,
                "invalid URL: expected http://HOST:6334, or https://HOST:6334 for TLS",
            )
        })?;
    Ok(client)
}

/// Returns true if the client supports a server of this version.
fn is_compatible(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    major == CLIENT_VERSION.0 && minor.abs_diff(CLIENT_VERSION.1) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_one_version_apart_are_understood() {
        for (version, understood) in [
            ("1.18.3", true),
            ("1.17.0", true),
            ("1.19.1-dev", true),
            ("1.16.3", false),
            ("2.18.0", false),
            ("", false),
        ] {
            assert_eq!(is_compatible(version), understood, "{version}");
        }
    }
}
