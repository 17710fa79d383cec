//! Conversion between the rows of the metadata store and the types of the API.

use metadata::{
    Actor, ApiKey, AuditEntry, Generation, Grant, OperationRecord, Principal, ResourceLimits,
    SourceSummary, Usage, User, VisibleCollection,
};
use server::{ports, right, wire};

pub(super) fn to_actor(by: &ports::Actor) -> Actor {
    Actor { user: by.user, ip: by.ip.clone(), user_agent: by.user_agent.clone() }
}

pub(super) fn to_principal(reader: ports::Principal) -> Principal {
    Principal { user: reader.user, key: reader.key, is_superuser: reader.is_superuser }
}

pub(super) fn to_user(user: User) -> wire::User {
    wire::User {
        id: user.id,
        username: user.username,
        email: user.email,
        full_name: user.full_name,
        is_active: user.is_active,
        is_superuser: user.is_superuser,
        created_at: user.created_at,
        last_login: user.last_login,
        preferences: user.preferences,
    }
}

pub(super) fn to_key(key: ApiKey) -> wire::Key {
    wire::Key {
        id: key.id,
        name: key.name,
        prefix: key.prefix,
        scopes: key.scopes,
        is_active: key.is_active,
        last_used_at: key.last_used_at,
        created_at: key.created_at,
        expires_at: key.expires_at,
    }
}

pub(super) fn to_audit_entry(entry: AuditEntry) -> wire::AuditEntry {
    wire::AuditEntry {
        id: entry.id,
        action: entry.action,
        by: entry.by,
        subject: entry.subject,
        operation_id: entry.operation_id,
        details: entry.details,
        ip_address: entry.ip_address,
        user_agent: entry.user_agent,
        created_at: entry.created_at,
    }
}

/// A collection with the grants of its reader; `right` decides what they permit.
pub(super) fn to_collection(
    seen: VisibleCollection,
    is_served: bool,
) -> (wire::Collection, right::AccessGrants) {
    let VisibleCollection { collection, owner, is_owner, user_grant, key_grant } = seen;
    let level = |word: Option<String>| word.as_deref().and_then(right::AccessLevel::parse);
    let given = right::AccessGrants {
        is_owner,
        is_public: collection.is_public,
        user_level: level(user_grant),
        key_level: level(key_grant),
    };
    let collection = wire::Collection {
        id: collection.id,
        name: collection.name,
        owner,
        description: collection.description,
        status: collection.status.to_string(),
        status_message: collection.status_message,
        model: collection.embedding_model,
        quantization: collection.quantization,
        chunk_size: collection.chunk_size,
        chunk_overlap: collection.chunk_overlap,
        document_count: collection.document_count,
        chunk_count: collection.vector_count,
        size_bytes: collection.total_size_bytes,
        is_public: collection.is_public,
        is_being_deleted: collection.deleting_since.is_some(),
        is_served,
        right: right::AccessLevel::Read.name(),
        created_at: collection.created_at,
        updated_at: collection.updated_at,
    };
    (collection, given)
}

pub(super) fn to_generation(generation: Generation) -> wire::Generation {
    wire::Generation {
        number: generation.number,
        status: generation.status.to_string(),
        model: generation.embedding_model,
        dim: generation.dim,
        quantization: generation.quantization,
        chunk_size: generation.chunk_size,
        chunk_overlap: generation.chunk_overlap,
        created_at: generation.created_at,
        live_at: generation.live_at,
        retired_at: generation.retired_at,
        rolled_back_at: generation.rolled_back_at,
    }
}

pub(super) fn to_source(source: SourceSummary) -> wire::Source {
    wire::Source {
        id: source.id,
        source: source.source_path,
        kind: source.source_type,
        document_count: source.document_count,
        size_bytes: source.size_bytes,
        last_indexed_at: source.last_indexed_at,
    }
}

pub(super) fn to_grant(grant: Grant) -> wire::Grant {
    wire::Grant {
        id: grant.id,
        user: grant.username,
        key: grant.api_key_id,
        key_prefix: grant.key_prefix,
        permission: grant.permission,
        created_at: grant.created_at,
    }
}

pub(super) fn to_limits((limits, usage): (ResourceLimits, Usage)) -> wire::LimitsAndUsage {
    wire::LimitsAndUsage {
        limits: wire::Limits {
            max_documents: limits.max_documents,
            max_storage_gb: limits.max_storage_gb,
            max_operations_per_hour: limits.max_operations_per_hour,
            max_sources: limits.max_sources,
        },
        are_enforced: usage.is_limited,
        documents: usage.documents,
        size_bytes: usage.bytes,
        operations_within_the_hour: usage.operations,
        sources: usage.sources,
    }
}

pub(super) fn to_operation(operation: OperationRecord) -> wire::Operation {
    wire::Operation {
        id: operation.id,
        collection_id: operation.collection_id,
        collection: operation.collection,
        kind: operation.kind.to_string(),
        status: operation.status.to_string(),
        by: operation.by,
        config: operation.config,
        error: operation.error_message,
        created_at: operation.created_at,
        started_at: operation.started_at,
        completed_at: operation.completed_at,
        progress: operation.progress,
        report: operation.report,
    }
}
