//! A Qdrant server or cluster, over gRPC.
//!
//! Collection settings, points and filters are those of `edge.rs`, so that the same search returns
//! the same hits. Every write waits until the server has applied it, and the log of the server
//! survives a crash, so `flush` has nothing to do. Calls that fail with a transient error are
//! retried (`retry.rs`), with fewer concurrent writes if the server is overloaded
//! (`qdrant/limiter.rs`); the client reconnects after a lost connection.

use std::time::Duration;

use pipeline::{Quantization, Secret, StoreError, VectorsConfig};
use qdrant_client::Qdrant;

use crate::qdrant::calls::connect_retrying;
use crate::qdrant::limiter::WriteLimiter;
use crate::shape::{VectorLayout, permanent_error};

mod calls;
mod collection;
mod error;
mod filter;
mod limiter;
mod read;
mod request;
mod search;
mod write;

/// Timeout of one call. A write waits for the server, which may be busy building an index.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Timeout for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Concurrent writes, as long as the server is not overloaded.
const MAX_CONCURRENT_WRITES: usize = 8;

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
