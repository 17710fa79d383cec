//! The queries on the path of one document, one batch or one page. Their cost must not grow with
//! the collection, regardless of the statistics
//! (docs/adr/0025-query-plans-leases-and-retention.md). Tests check the plans on empty, small and
//! large tables, analysed or not, and check that a run repeats no statement that is missing here.
//!
//! Rules for such a query:
//!
//! - The keys are an array, and each element is looked up by `CROSS JOIN LATERAL (… OFFSET 0)` or
//!   `LIMIT 1`. This is a fence: the planner does not join across it, so a hash or merge join with
//!   the whole table is impossible. `NOT EXISTS (… OFFSET 0)` is a fence too.
//! - Behind the fence is one equality condition that one index serves. A second condition that
//!   another index could serve is written so that it cannot: outside the fence, as `IS NOT DISTINCT
//!   FROM`, or as part of one key (`uuid_send(collection_id) || content_hash`, migration 0010). Not
//!   `= ANY(…)`, which may become a filter.
//! - Rows to change are identified by the `ctid` that the same statement has looked up.
//! - Pages of documents also use one key: `uuid_send(collection_id) || uuid_send(id)`.
//! - Sequential scans are disabled on every connection (`postgres.rs`), which also covers foreign
//!   key checks.

use crate::collections::{grants, sources};
use crate::documents::{
    deletions, dry_run, history, identify, locations, lookup, relocations, rows, run, store,
};
use crate::operations::{lease_rows, ownership, queue, records, takeover};
use crate::{accounts, audit, vocabulary};

/// A query with test parameters.
pub struct HotQuery {
    /// Description of the query.
    pub doing: &'static str,
    /// Text of the query.
    pub sql: &'static str,
    /// Its parameters as SQL. A test replaces placeholders in braces: `collection`, `operation`,
    /// `generation`, `fingerprint`, `user`, and arrays of equal length: `documents`, `contents`,
    /// `uris` and their `hashes`, `sources`, `numbers`, `times`, `texts`, `objects`, `nulls`.
    pub arguments: &'static str,
    /// Indexes that the plan must use when the statistics are correct.
    pub indexes: &'static [&'static str],
    /// Number of rows that it reads.
    pub reads: ReadScope,
}

/// Number of rows that a query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadScope {
    /// The requested rows, in the tables of the schema `public` or `building`.
    RequestedRows,
    /// The requested rows, in tables outside the generations.
    RequestedPublicRows,
    /// The collection, once for each run over its sources.
    WholeCollection,
}

/// Every hot query of the metadata store.
pub static HOT_QUERIES: &[HotQuery] = &[
    HotQuery {
        doing: "check that an operation may write",
        sql: ownership::ASSERT_OWNED,
        arguments: "{operation}",
        indexes: &["pk_operations"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "renew a lease",
        sql: lease_rows::RENEW,
        arguments: "{operation}, '60 seconds', NULL",
        indexes: &["pk_operation_leases"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "find orphaned operations",
        sql: takeover::ORPHANED_OPERATIONS,
        arguments: "{collection}",
        indexes: &["idx_operations_open"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "look up locations",
        sql: lookup::LOCATE,
        arguments: "{collection}, {fingerprint}, {hashes}, {operation}, FALSE",
        indexes: &["pk_document_locations", "pk_documents"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "read the known contents",
        sql: store::KNOWN_HASHES,
        arguments: "{collection}, {fingerprint}, {operation}",
        indexes: &["idx_documents_fingerprint"],
        reads: ReadScope::WholeCollection,
    },
    HotQuery {
        doing: "identify documents",
        sql: identify::CANDIDATES,
        arguments: "{collection}, {fingerprint}, {contents}, {hashes}",
        indexes: &[
            "idx_documents_collection_content_hash",
            "idx_documents_deleted_content_hash",
            "pk_document_locations",
            "idx_document_locations_document_id",
        ],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find used ids",
        sql: identify::EXISTING_IDS,
        arguments: "{documents}",
        indexes: &["pk_documents"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find points that a dead run was writing",
        sql: identify::HALF_WRITTEN,
        arguments: "{documents}, {operation}",
        indexes: &["pk_document_writes"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "record that points are about to be written",
        sql: identify::MARK_WRITING,
        arguments: "{collection}, {operation}, {documents}",
        indexes: &[],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "record that points are written",
        sql: identify::MARK_WRITTEN,
        arguments: "{documents}",
        indexes: &["pk_document_writes"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find the documents of contents for a dry run",
        sql: dry_run::CONTENT_MATCHES,
        arguments: "{collection}, {fingerprint}, {contents}",
        indexes: &["idx_documents_collection_content_hash", "idx_documents_deleted_content_hash"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find queued operations",
        sql: queue::WAITING,
        arguments: "ARRAY[{collection}]::uuid[]",
        indexes: &["idx_operations_open"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "list locations",
        sql: dry_run::KNOWN_LOCATIONS,
        arguments: "{collection}, '', 50",
        indexes: &["pk_document_locations"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find a location",
        sql: history::LOCATION,
        arguments: "{collection}, {fingerprint}",
        indexes: &["pk_document_locations"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find the locations of a document",
        sql: history::LOCATIONS_OF,
        arguments: "{operation}",
        indexes: &["idx_document_locations_document_id"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "list documents with points to remove",
        sql: run::UNPURGED,
        arguments: "{collection}, {operation}, 50",
        indexes: &["idx_documents_unpurged"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "recover from a run that died",
        sql: run::RECOVER,
        arguments: "{collection}, {operation}",
        indexes: &["idx_document_writes_collection_id", "pk_documents"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "record that points are removed",
        sql: store::PURGED,
        arguments: "{collection}, {documents}",
        indexes: &["pk_documents"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "forget writes of a run that died",
        sql: store::FORGET_WRITES,
        arguments: "{collection}, {documents}, {operation}",
        indexes: &["pk_document_writes"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "write sources",
        sql: sources::ENSURE,
        arguments: "{collection}, ARRAY['/corpus'], ARRAY['directory']",
        indexes: &[],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "write documents",
        sql: rows::UPSERT,
        arguments: "{collection}, {fingerprint}, {operation}, {documents}, {sources}, {texts}, {texts}, {numbers}, \
                    {texts}, {contents}, {nulls}, {nulls}, {numbers}, {objects}, {contents}, {uris}",
        indexes: &[],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "replace documents of the same content",
        sql: rows::DELETE_SUPERSEDED,
        arguments: "{collection}, {operation}, {documents}, {contents}",
        indexes: &["idx_documents_collection_content_hash"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "delete documents without a location",
        sql: rows::DELETE_WITHOUT_LOCATION,
        arguments: "{collection}, {operation}, {documents}",
        indexes: &["pk_documents", "idx_document_locations_document_id", "pk_document_writes"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find failed documents with points",
        sql: rows::FAILED_WITH_POINTS,
        arguments: "{documents}",
        indexes: &["pk_documents"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find the documents of locations",
        sql: locations::OWNING_DOCUMENTS,
        arguments: "{collection}, {hashes}",
        indexes: &["pk_document_locations"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "write locations",
        sql: locations::UPSERT,
        arguments: "{collection}, {fingerprint}, now(), {uris}, {sources}, {numbers}, {times}, {times}, {numbers}, \
                    {contents}, {nulls}, FALSE",
        indexes: &["idx_documents_collection_content_hash"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "detach locations",
        sql: locations::DETACH,
        arguments: "{documents}",
        indexes: &["pk_documents", "idx_document_locations_document_id"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "attach locations",
        sql: locations::ATTACH,
        arguments: "{collection}, {documents}",
        indexes: &["pk_documents", "idx_document_locations_unattached"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "touch locations",
        sql: locations::TOUCH,
        arguments: "{collection}, now(), {hashes}, {sources}, {numbers}, {times}, {times}, {numbers}",
        indexes: &["pk_document_locations"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "mark locations as seen",
        sql: locations::MARK_SEEN,
        arguments: "{collection}, now(), {hashes}",
        indexes: &["pk_document_locations"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "delete missing locations",
        sql: deletions::FORGET,
        // All locations are missing, and the page starts at the end.
        arguments: "{collection}, ARRAY['/corpus'], 'infinity', 50, '\\xfff8'",
        indexes: &["pk_document_locations", "idx_document_locations_unreadable"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "find moved documents",
        sql: relocations::PENDING_RELOCATIONS,
        arguments: "{collection}, 50, 'fff00000-0000-0000-0000-000000000000'",
        indexes: &["idx_document_locations_document_id"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "record that documents have moved",
        sql: relocations::MARK_RELOCATING,
        arguments: "{collection}, {documents}",
        indexes: &["pk_documents"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "record the locations of documents",
        sql: relocations::MARK_RELOCATED,
        arguments: "{collection}, {documents}, {uris}, {texts}, {sources}, {objects}",
        indexes: &["pk_documents"],
        reads: ReadScope::RequestedRows,
    },
    HotQuery {
        doing: "add words to the vocabulary",
        sql: vocabulary::ADD,
        arguments: "{generation}, {texts}",
        indexes: &[],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "read words of the vocabulary",
        sql: vocabulary::WORDS,
        arguments: "{generation}, 'w', 'w1', 'w\u{10ffff}', 50",
        indexes: &["pk_generation_words"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "find the account of a session",
        sql: accounts::ACTIVE_USER,
        arguments: "{user}",
        indexes: &["idx_refresh_tokens_family_id", "pk_users"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "find a key",
        sql: accounts::AUTHENTICATE,
        arguments: "'7'",
        indexes: &["uq_api_keys_key_hash", "pk_users"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "list keys",
        sql: accounts::LIST_KEYS,
        arguments: "{user}, '00000000-0000-0000-0000-000000000000', 50",
        indexes: &["idx_api_keys_user_id"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "find a collection with its grants",
        sql: grants::VISIBLE_COLLECTION,
        arguments: "{user}, NULL, {collection}",
        indexes: &["pk_collections", "uq_collection_permissions_collection_id_user_id"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "list the operations of a collection",
        sql: records::OF_COLLECTION,
        arguments: "{collection}, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50",
        indexes: &["idx_operations_collection_created_at"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "list operations",
        sql: records::READABLE,
        arguments: "{user}, NULL, TRUE, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50",
        indexes: &["idx_operations_created_at"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "read the audit log of a collection",
        sql: audit::COLLECTION_EVENTS,
        arguments: "{collection}, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50",
        indexes: &["idx_collection_audit_log_collection_id"],
        reads: ReadScope::RequestedPublicRows,
    },
    HotQuery {
        doing: "read the audit log of accounts",
        sql: audit::ACCOUNT_EVENTS,
        arguments: "'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50",
        indexes: &["idx_account_audit_log_created_at"],
        reads: ReadScope::RequestedPublicRows,
    },
];
