//! A Qdrant server or cluster, over gRPC.
//!
//! What it is not: another query language. The collection that it makes, the points and the filters are
//! those of `edge.rs`, so that the same search gives the same answers. Every write waits until the
//! server has applied it, and the server's log survives a crash of the server: `flush` has nothing left
//! to do. Calls that fail for a reason that may go away are made again (`retry.rs`), by fewer at a time
//! if the server is overloaded (`qdrant/limiter.rs`); a lost connection is made anew by the client.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use pipeline::{BoxError, Hit, Point, Remedy, Secret, StoreError, VectorIndex, VectorStore};
use qdrant_client::qdrant::facet_value::Variant;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, DeletePointsBuilder, FacetCountsBuilder, Filter, NamedVectors,
    PointId, PointStruct, QuantizationSearchParamsBuilder, Query, QueryPointsBuilder, Range,
    RetrievedPoint, ScrollPointsBuilder, SearchParamsBuilder, UpsertPointsBuilder, VectorsSelector,
    vector_output,
};
use qdrant_client::{Payload, Qdrant, QdrantError};
use uuid::Uuid;

use crate::payload;
use crate::qdrant::limiter::Limiter;
use crate::retry::retrying;
use crate::vectors::{
    CHUNK_INDEX, DENSE, DOCUMENT, Inventory, Quantization, VectorsConfig, check_points,
    check_vector, gives_up,
};

mod collection;
mod limiter;

/// Time for one call. A write waits for the server, which may be busy building an index.
const CALL: Duration = Duration::from_secs(60);

/// Time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// Writes under way at once, as long as the server keeps up.
const MOST_WRITES: usize = 8;

/// Bytes of one request; a server takes 32 MiB unless it was told otherwise.
const REQUEST: usize = 24 << 20;

/// The longest that a server may make its client wait.
const LONGEST_WAIT: u64 = 60;

/// Minor version of the API that the client speaks; servers one version apart understand it.
const CLIENT: (u64, u64) = (1, 18);

/// A collection on a server.
pub struct QdrantStore {
    client: Qdrant,
    name: String,
    dim: usize,
    quantization: Quantization,
    limiter: Limiter,
}

impl QdrantStore {
    /// Connects to the server at this URL (`http://…:6334`, or `https://…` for TLS), and makes the
    /// collection if it is not there. A server that is only just starting is waited for.
    ///
    /// # Errors
    /// If the server cannot be reached, refuses the key, or has a collection of this name that holds
    /// other vectors.
    pub async fn connect(
        url: &str,
        api_key: Option<&Secret>,
        config: &VectorsConfig,
    ) -> Result<Self, StoreError> {
        let client = Qdrant::from_url(url)
            .timeout(CALL)
            .connect_timeout(CONNECT)
            .api_key(api_key.map(|key| key.reveal().to_owned()))
            // It prints its opinion on standard output; `health` says it in the log.
            .skip_compatibility_check()
            .build()
            .map_err(|e| gives_up("connect to the Qdrant server", e))?;
        let store = Self {
            client,
            name: config.name.clone(),
            dim: config.dim,
            quantization: config.quantization,
            limiter: Limiter::new(MOST_WRITES),
        };
        let version = retrying(|| store.health()).await?;
        if !speaks_with(&version) {
            let (major, minor) = CLIENT;
            tracing::warn!(server = version, "the server does not go with client {major}.{minor}");
        }
        collection::ensure(&store.client, config).await?;
        Ok(store)
    }

    /// Asks the server how it is; returns its version.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn health(&self) -> Result<String, StoreError> {
        let reply = self.client.health_check().await;
        reply.map(|reply| reply.version).map_err(|e| failed("reach the Qdrant server", e))
    }

    /// Deletes the collection.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn delete(self) -> Result<(), StoreError> {
        let delete = || async {
            let reply = self.client.delete_collection(self.name.as_str()).await;
            reply.map(drop).map_err(|e| failed("delete the vector collection", e))
        };
        retrying(delete).await
    }

    async fn upsert_request(&self, points: Vec<PointStruct>) -> Result<(), StoreError> {
        let request = UpsertPointsBuilder::new(&self.name, points).wait(true).build();
        self.write("upsert points", || self.client.upsert_points(request.clone())).await
    }

    async fn delete_points(&self, filter: Filter) -> Result<(), StoreError> {
        let request = DeletePointsBuilder::new(&self.name).points(filter).wait(true).build();
        self.write("delete points", || self.client.delete_points(request.clone())).await
    }

    /// Makes a call that changes something, again if need be, and tells the limiter how it went.
    async fn write<T, Fut>(
        &self,
        doing: &'static str,
        call: impl Fn() -> Fut,
    ) -> Result<(), StoreError>
    where
        Fut: Future<Output = Result<T, QdrantError>>,
    {
        retrying(|| async {
            let permit = self.limiter.acquire().await;
            let reply = call().await;
            let congestion = reply.as_ref().err().and_then(congestion);
            self.limiter.release(permit, congestion.is_some());
            if let Some(wait) = congestion {
                tokio::time::sleep(wait).await;
            }
            reply.map(drop).map_err(|e| failed(doing, e))
        })
        .await
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    async fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        check_points(&points, self.dim)?;
        let requests = split(points, REQUEST).into_iter();
        let requests = requests
            .map(|points| self.upsert_request(points.into_iter().map(point_struct).collect()));
        stream::iter(requests).buffer_unordered(MOST_WRITES).try_collect().await
    }

    async fn truncate(&self, document: Uuid, from_chunk: u32) -> Result<(), StoreError> {
        let from = Range { gte: Some(from_chunk.into()), ..Range::default() };
        self.delete_points(Filter::must([
            Condition::matches(DOCUMENT, document.to_string()),
            Condition::range(CHUNK_INDEX, from),
        ]))
        .await
    }

    async fn remove(&self, documents: &[Uuid]) -> Result<(), StoreError> {
        if documents.is_empty() {
            return Ok(());
        }
        let documents: Vec<String> = documents.iter().map(Uuid::to_string).collect();
        self.delete_points(Filter::must([Condition::matches(DOCUMENT, documents)])).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VectorIndex for QdrantStore {
    async fn search(&self, vector: &[f32], k: usize) -> Result<Vec<Hit>, StoreError> {
        let doing = "search vectors";
        check_vector(doing, vector, self.dim)?;
        if k == 0 {
            return Ok(Vec::new());
        }
        let mut request = QueryPointsBuilder::new(&self.name)
            .query(Query::from(vector.to_vec()))
            .using(DENSE)
            .limit(k as u64)
            .with_payload(true);
        if self.quantization == Quantization::Int8 {
            let quantization =
                QuantizationSearchParamsBuilder::default().rescore(true).oversampling(2.0);
            request = request.params(SearchParamsBuilder::default().quantization(quantization));
        }
        let request = request.build();
        let ask =
            || async { self.client.query(request.clone()).await.map_err(|e| failed(doing, e)) };
        let reply = retrying(ask).await?;
        let hits = reply.result.into_iter().map(|point| {
            let payload = stored(point.payload).map_err(|e| gives_up(doing, e))?;
            Ok(Hit { score: point.score, payload })
        });
        hits.collect()
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let request = CountPointsBuilder::new(&self.name).exact(true).build();
        let ask = || async {
            self.client.count(request.clone()).await.map_err(|e| failed("count points", e))
        };
        let reply = retrying(ask).await?;
        Ok(reply.result.map_or(0, |result| result.count))
    }

    async fn scroll(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Point>, StoreError> {
        let doing = "read points";
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let mut request = ScrollPointsBuilder::new(&self.name)
            .limit(limit)
            .with_payload(true)
            .with_vectors(VectorsSelector { names: vec![DENSE.to_owned()] });
        // Qdrant starts with the id it is given; there is none between an id and its successor.
        match after.map(|after| after.as_u128().checked_add(1)) {
            Some(None) => return Ok(Vec::new()),
            Some(Some(from)) => request = request.offset(Uuid::from_u128(from).to_string()),
            None => {}
        }
        let request = request.build();
        let ask =
            || async { self.client.scroll(request.clone()).await.map_err(|e| failed(doing, e)) };
        let reply = retrying(ask).await?;
        let points = reply.result.into_iter();
        points.map(|it| point(it).map_err(|e| gives_up(doing, e))).collect()
    }
}

#[async_trait]
impl Inventory for QdrantStore {
    async fn documents(&self) -> Result<BTreeMap<Uuid, u64>, StoreError> {
        let doing = "list the documents of the vector collection";
        // No more documents than points; and zero is no limit.
        let limit = self.count().await?.max(1);
        let request =
            FacetCountsBuilder::new(&self.name, DOCUMENT).limit(limit).exact(true).build();
        let ask =
            || async { self.client.facet(request.clone()).await.map_err(|e| failed(doing, e)) };
        let reply = retrying(ask).await?;
        // A value that no point has any more is still counted, with zero.
        let held = reply.hits.into_iter().filter(|hit| hit.count > 0);
        let documents = held.map(|hit| match hit.value.and_then(|it| it.variant) {
            Some(Variant::StringValue(id)) => {
                let id = id.parse::<Uuid>().map_err(|e| gives_up(doing, e))?;
                Ok((id, hit.count))
            }
            Some(Variant::IntegerValue(_) | Variant::BoolValue(_)) | None => {
                Err(gives_up(doing, "a document's id is not a text"))
            }
        });
        documents.collect()
    }
}

/// A point as the server takes it.
fn point_struct(point: Point) -> PointStruct {
    let vectors = NamedVectors::default().add_vector(DENSE, point.vector);
    PointStruct::new(point.id.to_string(), vectors, Payload::from(payload::to_json(point.payload)))
}

/// A point as the server gives it.
fn point(retrieved: RetrievedPoint) -> Result<Point, BoxError> {
    let id = match retrieved.id.and_then(|PointId { point_id_options }| point_id_options) {
        Some(PointIdOptions::Uuid(id)) => id.parse::<Uuid>()?,
        other => return Err(format!("point {other:?} was not written by semantik").into()),
    };
    let vector = retrieved.vectors.and_then(|vectors| vectors.get_vector_by_name(DENSE));
    let Some(vector_output::Vector::Dense(vector)) = vector else {
        return Err(format!("point {id} has no dense vector").into());
    };
    Ok(Point { id, vector: vector.data, payload: stored(retrieved.payload)? })
}

fn stored(
    payload: HashMap<String, qdrant_client::qdrant::Value>,
) -> Result<pipeline::Payload, serde_json::Error> {
    payload::from_json(Payload::from(payload).into())
}

/// Points in requests of at most this many bytes, cut between documents where that can be done.
fn split(points: Vec<Point>, most: usize) -> Vec<Vec<Point>> {
    let mut requests = Vec::new();
    let mut request: Vec<Point> = Vec::new();
    let (mut bytes, mut first_of_document) = (0, 0);
    for point in points {
        let weight = weight(&point);
        let last = request.last();
        if last.is_some_and(|last| last.payload.document != point.payload.document) {
            first_of_document = request.len();
        }
        if bytes + weight > most && !request.is_empty() {
            let cut = if first_of_document == 0 { request.len() } else { first_of_document };
            let rest = request.split_off(cut);
            requests.push(std::mem::replace(&mut request, rest));
            bytes = request.iter().map(self::weight).sum();
            first_of_document = 0;
        }
        bytes += weight;
        request.push(point);
    }
    if !request.is_empty() {
        requests.push(request);
    }
    requests
}

/// About the bytes that a point takes in a request.
fn weight(point: &Point) -> usize {
    let payload = &point.payload;
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let texts = payload.content.len()
        + payload.uri.len()
        + payload.source.len()
        + optional(&payload.title)
        + optional(&payload.headings);
    point.vector.len() * size_of::<f32>() + texts + 512
}

/// Whether the client understands a server of this version.
fn speaks_with(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    major == CLIENT.0 && minor.abs_diff(CLIENT.1) <= 1
}

/// What the server said, without the client's own words and metadata around it.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code})")]
struct ServerError {
    code: String,
    message: String,
}

/// Names of the gRPC codes that may go away: <https://grpc.io/docs/guides/status-codes/>. A connection
/// that cannot be made is `Internal`, one that is cut is `Unknown`, a timeout is `Cancelled`.
const PASSING: [&str; 7] = [
    "Aborted",
    "Cancelled",
    "DeadlineExceeded",
    "Internal",
    "ResourceExhausted",
    "Unavailable",
    "Unknown",
];

fn failed(doing: &'static str, error: QdrantError) -> StoreError {
    let status = match error {
        QdrantError::ResponseError { status }
        | QdrantError::ResourceExhaustedError { status, .. } => status,
        QdrantError::ConversionError(_)
        | QdrantError::InvalidUri(_)
        | QdrantError::NoSnapshotFound(_)
        | QdrantError::Io(_)
        | QdrantError::JsonToPayload(_)
        | QdrantError::PayloadDeserialization(_) => return gives_up(doing, error),
    };
    let code = format!("{:?}", status.code());
    let passing = PASSING.contains(&code.as_str());
    let remedy = if passing { Remedy::Retry } else { Remedy::GiveUp };
    let source = ServerError { code, message: status.message().to_owned() };
    StoreError { doing, remedy, source: source.into() }
}

/// If the server has too much to do: how long it wants to be left alone.
fn congestion(error: &QdrantError) -> Option<Duration> {
    let code = match error {
        QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
            return Some(Duration::from_secs((*retry_after_seconds).min(LONGEST_WAIT)));
        }
        QdrantError::ResponseError { status } => format!("{:?}", status.code()),
        QdrantError::ConversionError(_)
        | QdrantError::InvalidUri(_)
        | QdrantError::NoSnapshotFound(_)
        | QdrantError::Io(_)
        | QdrantError::JsonToPayload(_)
        | QdrantError::PayloadDeserialization(_) => return None,
    };
    let congested = ["Cancelled", "DeadlineExceeded", "ResourceExhausted"].contains(&code.as_str());
    congested.then_some(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contract::chunks;

    proptest! {
        #[test]
        fn requests_keep_points_in_order_and_documents_together(
            documents in prop::collection::vec(1_u32..12, 0..20),
            most in 1_usize..20_000,
        ) {
            let points: Vec<Point> =
                (0..).zip(&documents).flat_map(|(number, count)| chunks(number, *count, 1)).collect();
            let requests = split(points.clone(), most);
            prop_assert_eq!(requests.concat(), points);
            for request in &requests {
                let bytes: usize = request.iter().map(weight).sum();
                prop_assert!(bytes <= most || request.len() == 1);
            }
            // A document is in two requests only if it fills more than one.
            for two in requests.windows(2) {
                let document = two[1][0].payload.document;
                let both = two.iter().flatten().filter(|point| point.payload.document == document);
                let bytes: usize = both.map(weight).sum();
                let cut = two[0].last().is_some_and(|last| last.payload.document == document);
                prop_assert!(!cut || bytes > most);
            }
        }
    }

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
            assert_eq!(speaks_with(version), understood, "{version}");
        }
    }
}
