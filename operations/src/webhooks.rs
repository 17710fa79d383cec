//! Delivers notifications to webhooks. The transaction that ends an operation writes the messages;
//! this module signs and delivers them, with retries until the receiver accepts them. No operation
//! waits for a delivery.
//!
//! Format and signature follow the Standard Webhooks convention (standardwebhooks.com): the headers
//! `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is `v1,` and the base64 of
//! HMAC-SHA256 over `id.timestamp.body`.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use metadata::{Notification, Postgres};
use pipeline::{BoxError, PipelineSpec, WebhookSpec};
use sha2::Sha256;
use uuid::Uuid;

/// Timeout of a delivery.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Lease of the messages that are taken; longer than the deliveries of all of them can take.
const LEASE_DURATION: Duration = Duration::from_secs(120);

/// Messages taken per call.
const BATCH_SIZE: u32 = 8;

/// The HTTP client; it reuses connections.
static AGENT: LazyLock<ureq::Agent> = LazyLock::new(|| {
    ureq::Agent::config_builder()
        .timeout_global(Some(REQUEST_TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("semantik/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
});

/// Delivers the due messages of one collection to the webhooks in its file. Blocks during the
/// deliveries.
pub(crate) async fn deliver(
    postgres: &Postgres,
    collection: Uuid,
    spec: &PipelineSpec,
) -> Result<(), BoxError> {
    if spec.file.notify.is_empty() {
        return Ok(());
    }
    let messages = postgres.notifications();
    for message in messages.take_due(&[collection], LEASE_DURATION, BATCH_SIZE).await? {
        let Some(webhook) = spec.file.stores.webhooks.get(&message.target) else {
            let why = "the pipeline file no longer defines this webhook";
            messages.mark_failed(message.id, why, true).await?;
            continue;
        };
        let at = chrono::Utc::now().timestamp();
        match tokio::task::block_in_place(|| post(webhook, &message, at)) {
            Ok(()) => messages.mark_delivered(message.id).await?,
            Err(DeliveryError { reason: why, permanent: for_good }) => {
                tracing::warn!(
                    webhook = message.target,
                    event = message.event,
                    why,
                    "failed to deliver a notification"
                );
                messages.mark_failed(message.id, &why, for_good).await?;
            }
        }
    }
    Ok(())
}

/// A failed delivery.
struct DeliveryError {
    reason: String,
    /// `true` if the receiver will never accept the message (410 Gone).
    permanent: bool,
}

fn post(webhook: &WebhookSpec, message: &Notification, at: i64) -> Result<(), DeliveryError> {
    let body = message.body.to_string();
    let id = format!("msg_{}", message.id.simple());
    let signature = sign(webhook.secret.reveal(), &id, at, &body);
    let sent = AGENT
        .post(webhook.url.reveal())
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .send(&body);
    match sent {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let status = answer.status().as_u16();
            Err(DeliveryError {
                reason: format!("the receiver answered {status}"),
                permanent: status == 410,
            })
        }
        // The error's own message may contain the URL, and that a key.
        Err(error) => {
            Err(DeliveryError { reason: error_text(&error).to_owned(), permanent: false })
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "ureq may add variants")]
fn error_text(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "the receiver took too long",
        ureq::Error::HostNotFound => "cannot resolve the receiver's host",
        ureq::Error::ConnectionFailed | ureq::Error::Io(_) => "cannot connect to the receiver",
        ureq::Error::BadUri(_) => "the webhook URL is invalid",
        _ => "the connection to the receiver failed",
    }
}

/// The signature of a message. A secret that begins with `whsec_` is base64 after that prefix; any
/// other is used literally.
fn sign(secret: &str, id: &str, at: i64, body: &str) -> String {
    let decoded = secret.strip_prefix("whsec_").and_then(|it| BASE64_STANDARD.decode(it).ok());
    let key = decoded.as_deref().unwrap_or(secret.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation of the convention's libraries.
    #[test]
    fn a_signature_is_that_of_the_convention() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
