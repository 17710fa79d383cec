//! The address at which Prometheus asks for the metrics of a process.

use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use pipeline::BoxError;
use tokio::net::TcpListener;

use super::Telemetry;
use crate::serve::not_bound;

/// The text format, <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Telemetry {
    /// Does something, and serves metrics at an address while it goes on, if there is one.
    ///
    /// # Errors
    /// If the address cannot be had; then nothing was done. Or as the work ends.
    pub(crate) async fn served_while<T>(
        &self,
        address: Option<SocketAddr>,
        work: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let Some(address) = address else { return work.await };
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!("cannot listen at {address} for metrics: {}", not_bound(&error))
        })?;
        tracing::info!(address = %listener.local_addr()?, "metrics are served at /metrics");
        let telemetry = self.clone();
        let metrics =
            get(async move || ([(CONTENT_TYPE, TEXT)], telemetry.text().await).into_response());
        let server = axum::serve(listener, Router::new().route("/metrics", metrics));
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            ended = server.into_future() => {
                tracing::warn!(?ended, "metrics are served no more");
            }
        }
        work.await
    }
}
