//! The queries on the path of one document or one page, with the indexes that they must use: their cost
//! must not grow with the collection. A test asks the planner.

use super::{
    audit, documents, foresee, grants, history, identify, keys, locations, queue, run, sessions,
    story,
};

/// A query and the indexes that its plan has.
pub struct HotQuery {
    /// What it does.
    pub doing: &'static str,
    /// The query.
    pub sql: &'static str,
    /// Indexes that the plan must use.
    pub indexes: &'static [&'static str],
}

/// Every hot query of the metadata store.
#[doc(hidden)]
pub static HOT_QUERIES: &[HotQuery] = &[
    HotQuery {
        doing: "look up locations",
        sql: locations::LOCATE,
        indexes: &["pk_document_locations", "pk_documents"],
    },
    HotQuery {
        doing: "read the known contents",
        sql: run::KNOWN_HASHES,
        indexes: &["idx_documents_fingerprint"],
    },
    HotQuery {
        doing: "identify documents",
        sql: identify::CANDIDATES,
        indexes: &[
            "idx_documents_collection_content_hash",
            "idx_documents_deleted_content_hash",
            "pk_document_locations",
            "idx_document_locations_document_id",
        ],
    },
    HotQuery {
        doing: "find points that a dead run was writing",
        sql: identify::HALF_WRITTEN,
        indexes: &["pk_document_writes"],
    },
    HotQuery {
        doing: "list documents",
        sql: documents::LIST,
        indexes: &["idx_documents_collection_id"],
    },
    HotQuery {
        doing: "list documents by status",
        sql: documents::LIST_BY_STATUS,
        indexes: &["idx_documents_collection_status"],
    },
    HotQuery {
        doing: "foresee what contents lead to",
        sql: foresee::PROSPECTS,
        indexes: &["idx_documents_collection_content_hash", "idx_documents_deleted_content_hash"],
    },
    HotQuery {
        doing: "find operations that are handed over",
        sql: queue::WAITING,
        indexes: &["idx_operations_handed_over"],
    },
    HotQuery { doing: "list locations", sql: foresee::PLACES, indexes: &["pk_document_locations"] },
    HotQuery { doing: "find a location", sql: story::PLACE, indexes: &["pk_document_locations"] },
    HotQuery {
        doing: "find the locations of a document",
        sql: story::PLACES_OF,
        indexes: &["idx_document_locations_document_id"],
    },
    HotQuery {
        doing: "list documents with points to remove",
        sql: run::UNPURGED,
        indexes: &["idx_documents_unpurged"],
    },
    HotQuery { doing: "write documents", sql: documents::UPSERT, indexes: &[] },
    HotQuery {
        doing: "replace documents of the same content",
        sql: documents::REPLACE,
        indexes: &["idx_documents_collection_content_hash"],
    },
    HotQuery {
        doing: "delete documents without a location",
        sql: documents::DELETE_WITHOUT_LOCATION,
        indexes: &["idx_document_locations_document_id"],
    },
    HotQuery {
        doing: "find the documents of locations",
        sql: locations::OWNERS,
        indexes: &["pk_document_locations"],
    },
    HotQuery {
        doing: "write locations",
        sql: locations::UPSERT,
        indexes: &["idx_documents_collection_content_hash"],
    },
    HotQuery {
        doing: "detach locations",
        sql: locations::DETACH,
        indexes: &["pk_documents", "idx_document_locations_document_id"],
    },
    HotQuery {
        doing: "attach locations",
        sql: locations::ATTACH,
        indexes: &["pk_documents", "idx_document_locations_unattached"],
    },
    HotQuery {
        doing: "touch locations",
        sql: locations::TOUCH,
        indexes: &["pk_document_locations"],
    },
    HotQuery {
        doing: "find the account of a session",
        sql: sessions::ALIVE,
        indexes: &["idx_refresh_tokens_family_id", "pk_users"],
    },
    HotQuery {
        doing: "find a key",
        sql: keys::USE,
        indexes: &["uq_api_keys_key_hash", "pk_users"],
    },
    HotQuery { doing: "list keys", sql: keys::LIST, indexes: &["idx_api_keys_user_id"] },
    HotQuery {
        doing: "see a collection",
        sql: grants::SEEN,
        indexes: &["pk_collections", "uq_collection_permissions_collection_id_user_id"],
    },
    HotQuery {
        doing: "list the operations of a collection",
        sql: history::OF_COLLECTION,
        indexes: &["idx_operations_collection_created_at"],
    },
    HotQuery {
        doing: "list operations",
        sql: history::READABLE,
        indexes: &["idx_operations_created_at"],
    },
    HotQuery {
        doing: "read the audit log of a collection",
        sql: audit::OF_COLLECTION,
        indexes: &["idx_collection_audit_log_collection_id"],
    },
    HotQuery {
        doing: "read the audit log of accounts",
        sql: audit::OF_ACCOUNTS,
        indexes: &["idx_account_audit_log_created_at"],
    },
    HotQuery { doing: "see locations", sql: locations::SEE, indexes: &["pk_document_locations"] },
];
