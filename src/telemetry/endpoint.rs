//! The HTTP endpoint from which Prometheus scrapes the metrics of a process.

use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use pipeline::BoxError;
use tokio::net::TcpListener;

use super::Telemetry;
use crate::serve::bind_error;

/// Content type of the text format, <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const CONTENT_TYPE_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Telemetry {
    /// Awaits `work`, and serves metrics until it ends if `address` is given.
    ///
    /// # Errors
    /// If the address cannot be bound, before `work` is polled; otherwise the error of `work`.
    pub(crate) async fn serve_metrics_while<T>(
        &self,
        address: Option<SocketAddr>,
        work: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let Some(address) = address else { return work.await };
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!("cannot listen on {address} for metrics: {}", bind_error(&error))
        })?;
        tracing::info!(address = %listener.local_addr()?, "serving metrics at /metrics");
        let telemetry = self.clone();
        let metrics = get(async move || {
            ([(CONTENT_TYPE, CONTENT_TYPE_TEXT)], telemetry.render().await).into_response()
        });
        let server = axum::serve(listener, Router::new().route("/metrics", metrics));
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            ended = server.into_future() => {
                tracing::warn!(?ended, "the metrics server stopped");
            }
        }
        work.await
    }
}
