//! The names of enum values that users, clients of the API and metrics see. A changed name breaks
//! them, so each is listed here.

use metadata::{
    CollectionStatus, DocumentSort, DocumentStatus, GenerationStatus, OperationStatus,
    OperationType, ScheduledRunOutcome,
};
use pipeline::{
    DocumentError, Migrate, MissedRunPolicy, NotifyEvent, Overlap, Quantization, RejectReason,
    ScheduledOperation,
};
use search::SearchMode;
use serde::Serialize;
use server::problem::PROBLEM_CODES;
use server::right::{AccessLevel, Right, SCOPES};
use server::{RATE_CLASSES, wire};

/// The names of values in JSON.
fn in_json<T: Serialize>(values: &[T]) -> Vec<String> {
    let name = |value: &T| {
        let json = serde_json::to_value(value).unwrap();
        json.as_str().expect("a value without fields is a string").to_owned()
    };
    values.iter().map(name).collect()
}

/// The names of values in JSON, which must be those in tables and metrics.
fn everywhere<T: Serialize + ToString>(values: &[T]) -> Vec<String> {
    let names = in_json(values);
    assert_eq!(values.iter().map(ToString::to_string).collect::<Vec<_>>(), names);
    names
}

fn reasons() -> Vec<String> {
    let all = [
        RejectReason::Unchanged,
        RejectReason::MetadataChanged,
        RejectReason::Duplicate,
        RejectReason::Empty,
        RejectReason::ImagesOnly { images: 1, pages: 1 },
        RejectReason::TooLarge { size: 2, limit: 1 },
        RejectReason::Unsupported { mime_type: "image/png".to_owned() },
        RejectReason::Unrouted,
        RejectReason::Failed(DocumentError::Encrypted),
        RejectReason::Withheld { message: String::new() },
    ];
    let mut codes: Vec<String> = all.iter().map(|it| it.code().to_owned()).collect();
    codes.dedup();
    codes
}

#[test]
fn no_public_name_changes_unseen() {
    let statuses = [OperationStatus::UNFINISHED.as_slice(), &OperationStatus::FINISHED].concat();
    let rights = [
        Right::Public,
        Right::Search,
        Right::Browse,
        Right::Authenticated,
        Right::Session,
        Right::Superuser,
        Right::SuperuserSession,
        Right::Read,
        Right::Write,
        Right::Admin,
        Right::Owner,
    ];
    let levels = [AccessLevel::Read, AccessLevel::Write, AccessLevel::Admin, AccessLevel::Owner];
    let modes = [SearchMode::Dense, SearchMode::Sparse, SearchMode::Hybrid];
    let sorts = [
        DocumentSort::Id,
        DocumentSort::Name,
        DocumentSort::Size,
        DocumentSort::Updated,
        DocumentSort::Status,
    ];
    let names = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let lists = [
        ("collection status", everywhere(&CollectionStatus::ALL)),
        ("generation status", everywhere(&GenerationStatus::ALL)),
        ("document status", everywhere(&DocumentStatus::ALL)),
        ("reject reason", reasons()),
        ("operation type", everywhere(&OperationType::ALL)),
        ("operation status", everywhere(&statuses)),
        ("scheduled run", everywhere(&ScheduledRunOutcome::ALL)),
        (
            "scheduled operation",
            in_json(&[ScheduledOperation::Append, ScheduledOperation::Reindex]),
        ),
        ("overlap", in_json(&[Overlap::Skip, Overlap::Queue, Overlap::CancelPrevious])),
        (
            "missed runs",
            in_json(&[MissedRunPolicy::Skip, MissedRunPolicy::Once, MissedRunPolicy::All]),
        ),
        (
            "notification",
            in_json(&[NotifyEvent::Failure, NotifyEvent::Success, NotifyEvent::Recovery]),
        ),
        ("migrate", in_json(&[Migrate::Auto, Migrate::Manual])),
        (
            "quantization",
            in_json(&[Quantization::Float32, Quantization::Float16, Quantization::Int8]),
        ),
        ("search mode", names(&modes.map(SearchMode::name))),
        ("right", names(&rights.map(Right::name))),
        ("access level", names(&levels.map(AccessLevel::name))),
        ("scope", names(&SCOPES.map(|(name, _)| name))),
        (
            "permission",
            in_json(&[wire::Permission::Read, wire::Permission::Write, wire::Permission::Admin]),
        ),
        (
            "requested operation",
            in_json(&[wire::RequestedOperation::Append, wire::RequestedOperation::Reindex]),
        ),
        ("order of documents", in_json(&sorts)),
        ("direction", in_json(&[wire::SortOrder::Asc, wire::SortOrder::Desc])),
        ("rate class", names(&RATE_CLASSES.map(|(name, ..)| name))),
        ("problem", PROBLEM_CODES.iter().map(|row| row.1.to_owned()).collect()),
    ];
    let text: Vec<String> =
        lists.iter().map(|(of, names)| format!("{of}: {}", names.join(" "))).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    collection status: pending ready processing error degraded
    generation status: building live retired
    document status: pending processing completed failed deleted
    reject reason: unchanged duplicate empty too_large unsupported unrouted failed withheld
    operation type: index append reindex remove_source delete
    operation status: pending processing completed failed cancelled
    scheduled run: fired skipped missed
    scheduled operation: append reindex
    overlap: skip queue cancel_previous
    missed runs: skip once all
    notification: failure success recovery
    migrate: auto manual
    quantization: float32 float16 int8
    search mode: dense sparse hybrid
    right: open search browse known session superuser superuser_session read write admin owner
    access level: read write admin owner
    scope: search read write admin
    permission: read write admin
    requested operation: append reindex
    order of documents: id name size updated status
    direction: asc desc
    rate class: light login search look change
    problem: bad_request invalid_json invalid_query confirmation_required unauthenticated invalid_credentials forbidden insufficient_scope session_required not_found method_not_allowed timeout conflict limit_reached not_served too_large unsupported_media_type misdirected invalid_body too_costly rate_limited internal unavailable
    ");
}
