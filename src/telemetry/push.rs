//! Pushes the metrics of a run to a Pushgateway, because the run may end before a scrape.

use std::time::Duration;

use pipeline::BoxError;

/// Replaces the metrics of the previous run of the pipeline. The path is defined by
/// <https://github.com/prometheus/pushgateway#put-method>.
///
/// # Errors
/// If the gateway cannot be reached or refuses the metrics.
pub(crate) fn push(gateway: &str, pipeline: &str, text: &str) -> Result<(), BoxError> {
    let name: String = url_safe(pipeline);
    let url =
        format!("{}/metrics/job/semantik/pipeline@base64/{name}", gateway.trim_end_matches('/'));
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().into();
    let sent = agent.put(&url).header("Content-Type", "text/plain; version=0.0.4").send(text);
    sent.map_err(|error| {
        format!(
            "cannot push metrics to the Pushgateway at {}: {error}",
            pipeline::url_origin(gateway)
        )
    })?;
    Ok(())
}

/// Encodes a name, which may contain characters that are invalid in a path.
fn url_safe(name: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(name)
}
