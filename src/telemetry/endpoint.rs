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

/// The text format, <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens at an address; what this gives answers until `stop` ends. An address with the port 0 gets one that is
/// free, which is logged.
///
/// # Errors
/// If the address cannot be had.
pub(crate) async fn listen(
    telemetry: Telemetry,
    address: SocketAddr,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<impl Future<Output = ()>, BoxError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("could not listen on {address} for metrics: {error}"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served at /metrics");
    let metrics =
        get(async move || ([(CONTENT_TYPE, TEXT)], telemetry.text().await).into_response());
    let router = Router::new().route("/metrics", metrics);
    let server = axum::serve(listener, router).with_graceful_shutdown(stop);
    Ok(async move {
        if let Err(error) = server.await {
            tracing::warn!(%error, "metrics are served no more");
        }
    })
}
