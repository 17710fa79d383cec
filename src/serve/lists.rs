//! Conversion between the API's and the metadata store's document lists.

use metadata::{
    DocumentList, DocumentSelection, DocumentSort, DocumentStatus, ListedDocument, RejectionCount,
};
use search::title;
use server::wire;

pub(super) fn to_document_list(list: &wire::DocumentList) -> DocumentList {
    let selection = match (&list.reason, list.status) {
        // The API has checked that the status fits the reason.
        (Some(reason), _) => DocumentSelection::Reason(reason.clone()),
        (None, Some(status)) => DocumentSelection::Status(to_status(status)),
        (None, None) => DocumentSelection::All,
    };
    let sort = match list.sort {
        wire::DocumentSort::Id => DocumentSort::Id,
        wire::DocumentSort::Name => DocumentSort::Name,
        wire::DocumentSort::Size => DocumentSort::Size,
        wire::DocumentSort::Updated => DocumentSort::UpdatedAt,
        wire::DocumentSort::Status => DocumentSort::Status,
    };
    let is_descending = list.order == wire::SortOrder::Desc;
    DocumentList { selection, sort, is_descending, after: list.after.clone() }
}

fn to_status(status: wire::DocumentStatus) -> DocumentStatus {
    match status {
        wire::DocumentStatus::Pending => DocumentStatus::Pending,
        wire::DocumentStatus::Processing => DocumentStatus::Processing,
        wire::DocumentStatus::Completed => DocumentStatus::Completed,
        wire::DocumentStatus::Failed => DocumentStatus::Failed,
        wire::DocumentStatus::Deleted => DocumentStatus::Deleted,
    }
}

pub(super) fn to_wire(document: ListedDocument) -> wire::Document {
    let text = |key: &str| document.meta[key].as_str();
    wire::Document {
        id: document.id,
        title: title::meaningful(text("title")).map(str::to_owned),
        language: text("language").map(str::to_owned),
        metadata: document.meta.get("metadata").cloned().unwrap_or_else(|| serde_json::json!({})),
        path: document.file_path,
        name: document.file_name,
        status: document.status.to_string(),
        size_bytes: document.file_size,
        mime_type: document.mime_type,
        chunk_count: document.chunk_count,
        message: document.error_message,
        reason: document.reason,
        updated_at: document.updated_at,
    }
}

pub(super) fn to_counts(
    statuses: &[(DocumentStatus, i64)],
    set_aside: Vec<RejectionCount>,
) -> wire::DocumentCounts {
    let of = |status| statuses.iter().find(|(it, _)| *it == status).map_or(0, |(_, count)| *count);
    let (sums, messages): (Vec<_>, Vec<_>) =
        set_aside.into_iter().partition(|it| it.message.is_none());
    let mut reasons: Vec<wire::ReasonCount> = sums
        .into_iter()
        .map(|it| wire::ReasonCount { reason: it.reason, count: it.count, messages: Vec::new() })
        .collect();
    for RejectionCount { reason, message, count } in messages {
        let of_reason = reasons.iter_mut().find(|it| it.reason == reason);
        if let (Some(of_reason), Some(message)) = (of_reason, message) {
            of_reason.messages.push(wire::MessageCount { message, count });
        }
    }
    wire::DocumentCounts {
        pending: of(DocumentStatus::Pending),
        processing: of(DocumentStatus::Processing),
        completed: of(DocumentStatus::Completed),
        failed: of(DocumentStatus::Failed),
        deleted: of(DocumentStatus::Deleted),
        reasons,
    }
}
