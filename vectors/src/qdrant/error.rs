//! Converts errors of the Qdrant client: message, and whether a retry can help.

use std::time::Duration;

use pipeline::{Remedy, StoreError};
use qdrant_client::QdrantError;

use crate::shape::permanent_error;

/// Upper bound of the delay that a server may request, in seconds.
const MAX_RETRY_AFTER_SECONDS: u64 = 60;

/// Message and code of the server, without the metadata that the client adds.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code})")]
struct ServerError {
    code: String,
    message: String,
}

/// Names of the transient gRPC codes: <https://grpc.io/docs/guides/status-codes/>. The client
/// reports a failed connection as `Internal`, a lost one as `NotFound`, a timeout as `CancelFlag`.
const TRANSIENT_CODES: [&str; 7] = [
    "Aborted",
    "Cancelled",
    "DeadlineExceeded",
    "Internal",
    "ResourceExhausted",
    "Unavailable",
    "Unknown",
];

/// A server that was not reached: its address, the cause, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreachable(String);

/// The error of the first call of a connection, with the address of the server.
pub(super) fn connect_error(url: &str, doing: &'static str, error: QdrantError) -> StoreError {
    // The client describes the cause only by type names, which identify it but are unreadable for
    // users.
    let raw = format!("{error:?}");
    let StoreError { remedy, source, .. } = call_error(doing, error);
    let address = pipeline::url_origin(url);
    let has = |words: &[&str]| words.iter().any(|it| raw.contains(it));
    let why = if has(&["Connection refused"]) {
        format!(
            "{address} refused the connection: start the server, or correct host and port (the \
             gRPC port is 6334)"
        )
    } else if has(&["dns error", "failed to lookup"]) {
        format!("cannot resolve the host name of {address}: correct it, or check the name server")
    } else if let Some((_, what)) = TLS_ERRORS.iter().find(|(word, _)| raw.contains(word)) {
        format!("TLS with {address} failed: {what}")
    } else if has(NOT_GRPC_ERRORS) {
        let hint = if url.starts_with("https:") {
            ""
        } else {
            ", or write https:// if the server uses TLS"
        };
        format!(
            "{address} does not speak gRPC: use port 6334 of Qdrant (6333 is its REST API){hint}"
        )
    } else if has(&["Unauthenticated", "PermissionDenied"]) {
        format!("{address} does not accept the API key: check `api_key` in `stores.vectors`")
    } else if has(&["Failed to connect", "transport error"]) {
        format!(
            "{address} cannot be reached, or closes new connections: check that a Qdrant server \
             runs there (the gRPC port is 6334), and check its log"
        )
    } else {
        // The server responded.
        return StoreError { doing, remedy, source };
    };
    let may_pass = has(&["Connection refused", "dns error", "failed to lookup", "transport error"]);
    let remedy = if may_pass { Remedy::Retry } else { Remedy::GiveUp };
    StoreError { doing, remedy, source: Unreachable(why).into() }
}

/// Client messages for a server that speaks another protocol.
const NOT_GRPC_ERRORS: &[&str] = &[
    "h2 protocol error",
    "http2 error",
    "invalid HTTP version",
    "frame with invalid size",
    "grpc-status header missing",
    "invalid compression flag",
];

/// Client types in errors of TLS connections, and the message for each.
const TLS_ERRORS: &[(&str, &str)] = &[
    ("InvalidContentType", "the server does not speak TLS; write http:// if that is intended"),
    (
        "UnknownIssuer",
        "the issuer of its certificate is not trusted on this machine; install the issuer",
    ),
    ("NotValidForName", "its certificate is for another host name; use that host name in the URL"),
    ("Expired", "its certificate has expired; renew it"),
    ("InvalidCertificate", "its certificate is not accepted; check it"),
    ("HandshakeFailure", "the server refused the handshake; check its TLS settings"),
    ("CorruptMessage", "the server does not speak TLS; write http:// if that is intended"),
];

/// Converts the error of a call.
pub(super) fn call_error(doing: &'static str, error: QdrantError) -> StoreError {
    let status = match error {
        QdrantError::ResponseError { status }
        | QdrantError::ResourceExhaustedError { status, .. } => status,
        QdrantError::ConversionError(_)
        | QdrantError::InvalidUri(_)
        | QdrantError::NoSnapshotFound(_)
        | QdrantError::Io(_)
        | QdrantError::JsonToPayload(_)
        | QdrantError::PayloadDeserialization(_) => return permanent_error(doing, error),
    };
    let code = format!("{:?}", status.code());
    let passing = TRANSIENT_CODES.contains(&code.as_str());
    let remedy = if passing { Remedy::Retry } else { Remedy::GiveUp };
    let source = ServerError { code, message: clean_message(status.message()) };
    StoreError { doing, remedy, source: source.into() }
}

/// The message of a status, without the type names that the client adds: if it cannot connect, it
/// includes the `Debug` form of the system's error.
fn clean_message(message: &str) -> String {
    if message == "transport error" || message.starts_with("h2 protocol error") {
        return "lost the connection to the server; check that it runs, and check its log"
            .to_owned();
    }
    let Some((what, types)) = message.split_once(": tonic::transport::Error") else {
        return message.to_owned();
    };
    let cause = types.split_once("message: \"").and_then(|(_, cause)| cause.split_once('"'));
    cause.map_or_else(|| what.to_owned(), |(cause, _)| format!("{what}: {cause}"))
}

/// For an overloaded server, the delay that it requests; `None` for other errors.
pub(super) fn congestion_delay(error: &QdrantError) -> Option<Duration> {
    let code = match error {
        QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
            return Some(Duration::from_secs((*retry_after_seconds).min(MAX_RETRY_AFTER_SECONDS)));
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
    use super::*;

    #[test]
    fn a_server_that_is_not_there_is_said_in_words() {
        let message = "Failed to connect to http://localhost:1/: tonic::transport::Error(Transport, \
            ConnectError(ConnectError(\"tcp connect error\", 127.0.0.1:1, Os { code: 111, kind: \
            ConnectionRefused, message: \"Connection refused\" })))";
        assert_eq!(
            clean_message(message),
            "Failed to connect to http://localhost:1/: Connection refused"
        );
        assert_eq!(clean_message("Not found: collection"), "Not found: collection");
    }
}
