//! The queries on the path of one document, one batch or one page: their cost must not grow with the collection,
//! whatever the statistics say (docs/adr/0025-query-plans-leases-and-retention.md). Tests ask the planner, on tables that
//! are empty, small or large, analysed or not, and see to it that a run sends no statement again and again that is not
//! in here.
//!
//! How such a query is written:
//!
//! - What is looked up is an array, and each element is looked up by `CROSS JOIN LATERAL (… OFFSET 0)` or `LIMIT 1`: a
//!   fence, across which the planner does not join, so that a hash or merge join with the whole table cannot come about.
//!   `NOT EXISTS (… OFFSET 0)` is one, too.
//! - Behind the fence there is one equality that one index serves. A second condition that another index could serve is
//!   written so that it cannot: outside of the fence, as `IS NOT DISTINCT FROM`, or as part of one key
//!   (`uuid_send(collection_id) || content_hash`, migration 0010). Not `= ANY(…)`, which may become a filter.
//! - Rows to be changed are named by their `ctid`, which the same statement has looked up.
//! - Pages of documents go by one key, too: `uuid_send(collection_id) || uuid_send(id)`.
//! - Sequential scans are off on every connection (`postgres.rs`), and with them those of foreign keys.

use super::{
    audit, claim, documents, foresee, grants, history, identify, keys, locations, missing, moved,
    queue, run, sessions, sources, story, takeover,
};

/// A query with parameters to try it with.
pub struct HotQuery {
    /// What it does.
    pub doing: &'static str,
    /// The query.
    pub sql: &'static str,
    /// Its parameters in SQL. In braces stand values that a test puts in: `collection`, `operation`, `fingerprint`, `user`,
    /// and arrays of as many elements each: `documents`, `contents`, `uris` and their `hashes`, `sources`, `numbers`,
    /// `times`, `texts`, `objects`, `nulls`.
    pub arguments: &'static str,
    /// Indexes that the plan must use on tables whose statistics are right.
    pub indexes: &'static [&'static str],
    /// What it reads.
    pub reads: Reads,
}

/// How much a query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// What it was asked for, in the tables of the schema `public` or `building`.
    Asked,
    /// The same, in tables that are not those of a generation.
    AskedOfPublic,
    /// The collection, once for each pass over its sources.
    Collection,
}

/// Every hot query of the metadata store.
#[doc(hidden)]
pub static HOT_QUERIES: &[HotQuery] = &[
    HotQuery {
        doing: "make sure that an operation may write",
        sql: claim::HOLD,
        arguments: "{operation}",
        indexes: &["pk_operations"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "renew a lease",
        sql: claim::RENEW,
        arguments: "{operation}, '60 seconds', NULL",
        indexes: &["pk_operation_leases"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "find operations of the dead",
        sql: takeover::DEAD,
        arguments: "{collection}",
        indexes: &["idx_operations_open"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "look up locations",
        sql: locations::LOCATE,
        arguments: "{collection}, {fingerprint}, {hashes}, {operation}, FALSE",
        indexes: &["pk_document_locations", "pk_documents"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "read the known contents",
        sql: run::KNOWN_HASHES,
        arguments: "{collection}, {fingerprint}, {operation}",
        indexes: &["idx_documents_fingerprint"],
        reads: Reads::Collection,
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
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "find ids that are taken",
        sql: identify::TAKEN,
        arguments: "{documents}",
        indexes: &["pk_documents"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "find points that a dead run was writing",
        sql: identify::HALF_WRITTEN,
        arguments: "{documents}, {operation}",
        indexes: &["pk_document_writes"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "note that points are about to be written",
        sql: identify::NOTE_WRITES,
        arguments: "{collection}, {operation}, {documents}",
        indexes: &[],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "note that points are written",
        sql: identify::SETTLE_WRITES,
        arguments: "{documents}",
        indexes: &["pk_document_writes"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "foresee what contents lead to",
        sql: foresee::PROSPECTS,
        arguments: "{collection}, {fingerprint}, {contents}",
        indexes: &["idx_documents_collection_content_hash", "idx_documents_deleted_content_hash"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "find operations that are handed over",
        sql: queue::WAITING,
        arguments: "ARRAY[{collection}]::uuid[]",
        indexes: &["idx_operations_open"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "list locations",
        sql: foresee::PLACES,
        arguments: "{collection}, '', 50",
        indexes: &["pk_document_locations"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "find a location",
        sql: story::PLACE,
        arguments: "{collection}, {fingerprint}",
        indexes: &["pk_document_locations"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "find the locations of a document",
        sql: story::PLACES_OF,
        arguments: "{operation}",
        indexes: &["idx_document_locations_document_id"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "list documents with points to remove",
        sql: run::UNPURGED,
        arguments: "{collection}, {operation}, 50",
        indexes: &["idx_documents_unpurged"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "recover from a run that died",
        sql: run::RECOVER,
        arguments: "{collection}, {operation}",
        indexes: &["idx_document_writes_collection_id", "pk_documents"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "note that points are removed",
        sql: run::PURGED,
        arguments: "{collection}, {documents}",
        indexes: &["pk_documents"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "forget writes of a run that died",
        sql: run::FORGET_WRITES,
        arguments: "{collection}, {documents}, {operation}",
        indexes: &["pk_document_writes"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "write sources",
        sql: sources::ENSURE,
        arguments: "{collection}, ARRAY['/corpus'], ARRAY['directory']",
        indexes: &[],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "write documents",
        sql: documents::UPSERT,
        arguments: "{collection}, {fingerprint}, {operation}, {documents}, {sources}, {texts}, {texts}, {numbers}, \
                    {texts}, {contents}, {nulls}, {nulls}, {numbers}, {objects}, {contents}, {uris}",
        indexes: &[],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "replace documents of the same content",
        sql: documents::REPLACE,
        arguments: "{collection}, {operation}, {documents}, {contents}",
        indexes: &["idx_documents_collection_content_hash"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "delete documents without a location",
        sql: documents::DELETE_WITHOUT_LOCATION,
        arguments: "{collection}, {operation}, {documents}",
        indexes: &["pk_documents", "idx_document_locations_document_id", "pk_document_writes"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "find failed documents with points",
        sql: documents::FAILED_WITH_POINTS,
        arguments: "{documents}",
        indexes: &["pk_documents"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "find the documents of locations",
        sql: locations::OWNERS,
        arguments: "{collection}, {hashes}",
        indexes: &["pk_document_locations"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "write locations",
        sql: locations::UPSERT,
        arguments: "{collection}, {fingerprint}, now(), {uris}, {sources}, {numbers}, {times}, {times}, {numbers}, \
                    {contents}, {nulls}, FALSE",
        indexes: &["idx_documents_collection_content_hash"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "detach locations",
        sql: locations::DETACH,
        arguments: "{documents}",
        indexes: &["pk_documents", "idx_document_locations_document_id"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "attach locations",
        sql: locations::ATTACH,
        arguments: "{collection}, {documents}",
        indexes: &["pk_documents", "idx_document_locations_unattached"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "touch locations",
        sql: locations::TOUCH,
        arguments: "{collection}, now(), {hashes}, {sources}, {numbers}, {times}, {times}, {numbers}",
        indexes: &["pk_document_locations"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "see locations",
        sql: locations::SEE,
        arguments: "{collection}, now(), {hashes}",
        indexes: &["pk_document_locations"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "forget what is missing",
        sql: missing::FORGET,
        // Everything is missing, and the page begins at its end.
        arguments: "{collection}, ARRAY['/corpus'], 'infinity', 50, '\\xfff8'",
        indexes: &["pk_document_locations", "idx_document_locations_unreadable"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "look for documents that have moved",
        sql: moved::MOVED,
        arguments: "{collection}, 50, 'fff00000-0000-0000-0000-000000000000'",
        indexes: &["idx_document_locations_document_id"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "note that documents have moved",
        sql: moved::RELOCATING,
        arguments: "{collection}, {documents}",
        indexes: &["pk_documents"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "note where documents are",
        sql: moved::RELOCATED,
        arguments: "{collection}, {documents}, {uris}, {texts}, {sources}, {objects}",
        indexes: &["pk_documents"],
        reads: Reads::Asked,
    },
    HotQuery {
        doing: "find the account of a session",
        sql: sessions::ALIVE,
        arguments: "{user}",
        indexes: &["idx_refresh_tokens_family_id", "pk_users"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "find a key",
        sql: keys::USE,
        arguments: "'7'",
        indexes: &["uq_api_keys_key_hash", "pk_users"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "list keys",
        sql: keys::LIST,
        arguments: "{user}, '00000000-0000-0000-0000-000000000000', 50",
        indexes: &["idx_api_keys_user_id"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "see a collection",
        sql: grants::SEEN,
        arguments: "{user}, NULL, {collection}",
        indexes: &["pk_collections", "uq_collection_permissions_collection_id_user_id"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "list the operations of a collection",
        sql: history::OF_COLLECTION,
        arguments: "{collection}, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50",
        indexes: &["idx_operations_collection_created_at"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "list operations",
        sql: history::READABLE,
        arguments: "{user}, NULL, TRUE, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50",
        indexes: &["idx_operations_created_at"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "read the audit log of a collection",
        sql: audit::OF_COLLECTION,
        arguments: "{collection}, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50",
        indexes: &["idx_collection_audit_log_collection_id"],
        reads: Reads::AskedOfPublic,
    },
    HotQuery {
        doing: "read the audit log of accounts",
        sql: audit::OF_ACCOUNTS,
        arguments: "'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50",
        indexes: &["idx_account_audit_log_created_at"],
        reads: Reads::AskedOfPublic,
    },
];
