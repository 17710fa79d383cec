//! What an error of the client means for the caller.

use std::time::Duration;

use pipeline::{Remedy, StoreError};
use qdrant_client::QdrantError;

use crate::shape::gives_up;

/// The longest that a server may make its client wait, in seconds.
const LONGEST_WAIT: u64 = 60;

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

/// Why a server was not reached: where, what happened there, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreachable(String);

/// The error of the first call of a connection, with the address of the server.
pub(super) fn not_reached(url: &str, doing: &'static str, error: QdrantError) -> StoreError {
    // What the client says of the cause are its types; they tell what happened, and are not for people.
    let raw = format!("{error:?}");
    let StoreError { remedy, source, .. } = failed(doing, error);
    let address = pipeline::origin(url);
    let has = |words: &[&str]| words.iter().any(|it| raw.contains(it));
    let why = if has(&["Connection refused"]) {
        format!(
            "{address} refused the connection; start the server, or correct host and port (6334 is the port for gRPC)"
        )
    } else if has(&["dns error", "failed to lookup"]) {
        format!(
            "the host name of {address} could not be resolved; correct it, or check the name server"
        )
    } else if let Some((_, what)) = TLS.iter().find(|(word, _)| raw.contains(word)) {
        format!("TLS with {address} failed: {what}")
    } else if has(NOT_GRPC) {
        let hint =
            if url.starts_with("https:") { "" } else { "; write https:// if the server uses TLS" };
        format!(
            "{address} does not speak gRPC; 6334 is the gRPC port of Qdrant (6333 is its REST API){hint}"
        )
    } else if has(&["Unauthenticated", "PermissionDenied"]) {
        format!("{address} does not accept the API key; check `api_key` in `stores.vectors`")
    } else if has(&["Failed to connect", "transport error"]) {
        format!(
            "{address} cannot be reached, or closes the connection at once; check that a Qdrant server runs there \
             (6334 is the port for gRPC), and its log"
        )
    } else {
        // The server answered.
        return StoreError { doing, remedy, source };
    };
    let may_pass = has(&["Connection refused", "dns error", "failed to lookup", "transport error"]);
    let remedy = if may_pass { Remedy::Retry } else { Remedy::GiveUp };
    StoreError { doing, remedy, source: Unreachable(why).into() }
}

/// What the client says where another protocol is spoken than it expects.
const NOT_GRPC: &[&str] = &[
    "h2 protocol error",
    "http2 error",
    "invalid HTTP version",
    "frame with invalid size",
    "grpc-status header missing",
    "invalid compression flag",
];

/// Types of the client where no encrypted connection comes about, and what each means.
const TLS: &[(&str, &str)] = &[
    (
        "InvalidContentType",
        "it does not answer in TLS; write http:// if the server does not use it",
    ),
    (
        "UnknownIssuer",
        "nobody that this machine trusts has signed its certificate; install the certificate's issuer",
    ),
    ("NotValidForName", "its certificate is for another host name; use that name in the URL"),
    ("Expired", "its certificate has expired; renew it"),
    ("InvalidCertificate", "its certificate is not accepted; check it"),
    ("HandshakeFailure", "the server refused the handshake; check its settings"),
    ("CorruptMessage", "it does not answer in TLS; write http:// if the server does not use it"),
];

/// The error of a call.
pub(super) fn failed(doing: &'static str, error: QdrantError) -> StoreError {
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
    let source = ServerError { code, message: said(status.message()) };
    StoreError { doing, remedy, source: source.into() }
}

/// What a status says, without the names of the client's types around the cause: the client puts the
/// `Debug` form of the system's error into the message when it cannot connect.
fn said(message: &str) -> String {
    if message == "transport error" || message.starts_with("h2 protocol error") {
        return "the connection to the server was lost; check that it runs, and its log".to_owned();
    }
    let Some((what, types)) = message.split_once(": tonic::transport::Error") else {
        return message.to_owned();
    };
    let cause = types.split_once("message: \"").and_then(|(_, cause)| cause.split_once('"'));
    cause.map_or_else(|| what.to_owned(), |(cause, _)| format!("{what}: {cause}"))
}

/// If the server has too much to do: how long it wants to be left alone.
pub(super) fn congestion(error: &QdrantError) -> Option<Duration> {
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
    use super::*;

    #[test]
    fn a_server_that_is_not_there_is_said_in_words() {
        let message = "Failed to connect to http://localhost:1/: tonic::transport::Error(Transport, \
            ConnectError(ConnectError(\"tcp connect error\", 127.0.0.1:1, Os { code: 111, kind: \
            ConnectionRefused, message: \"Connection refused\" })))";
        assert_eq!(said(message), "Failed to connect to http://localhost:1/: Connection refused");
        assert_eq!(said("Not found: collection"), "Not found: collection");
    }
}
