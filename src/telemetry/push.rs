//! Metrics of a run that ends before anybody asks for them go to a Pushgateway.

use std::time::Duration;

use pipeline::BoxError;

/// Puts the metrics of a pipeline's run in the place of those of its run before. The path is that of
/// <https://github.com/prometheus/pushgateway#put-method>.
///
/// # Errors
/// If the gateway cannot be reached, or refuses them.
pub(crate) fn push(gateway: &str, pipeline: &str, text: &str) -> Result<(), BoxError> {
    let name: String = url_safe(pipeline);
    let url =
        format!("{}/metrics/job/semantik/pipeline@base64/{name}", gateway.trim_end_matches('/'));
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().into();
    let sent = agent.put(&url).header("Content-Type", "text/plain; version=0.0.4").send(text);
    sent.map_err(|error| {
        format!(
            "the Pushgateway at {} did not take the metrics: {error}",
            pipeline::origin(gateway)
        )
    })?;
    Ok(())
}

/// A name may have characters that a path may not.
fn url_safe(name: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(name)
}
