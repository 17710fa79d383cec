-- Lookups on the path of one document have indexes that no other index can stand in for, so that no plan reads the
-- collection, whatever the statistics say (docs/adr/0025-plans-leases-and-what-survives.md). While a table is empty or has
-- no statistics, every index that has a column of the condition, at whatever place, costs the same; so `collection_id`,
-- `id` and `content_hash` are looked up each in one index, and where they are combined, an expression is indexed.

-- The place of a document in the list of its collection as one key.
DROP INDEX idx_documents_collection_id;
DROP INDEX building.documents_collection_id_id_idx;
CREATE INDEX idx_documents_collection_id ON documents ((uuid_send(collection_id) || uuid_send(id)));
CREATE INDEX idx_documents_collection_id ON building.documents ((uuid_send(collection_id) || uuid_send(id)));
DROP INDEX idx_documents_status;
DROP INDEX building.documents_status_idx;
CREATE INDEX idx_documents_status ON documents (status, (uuid_send(collection_id) || uuid_send(id)));
CREATE INDEX idx_documents_status ON building.documents (status, (uuid_send(collection_id) || uuid_send(id)));
DROP INDEX idx_documents_collection_status;
CREATE INDEX idx_documents_collection_status ON documents (collection_id, status);

-- The content of a collection as one key.
DROP INDEX idx_documents_collection_content_hash;
DROP INDEX building.documents_collection_id_content_hash_idx;
CREATE UNIQUE INDEX idx_documents_collection_content_hash
    ON documents ((uuid_send(collection_id) || content_hash)) WHERE status <> 'deleted';
CREATE UNIQUE INDEX idx_documents_collection_content_hash
    ON building.documents ((uuid_send(collection_id) || content_hash)) WHERE status <> 'deleted';

DROP INDEX idx_documents_deleted_content_hash;
DROP INDEX building.documents_collection_id_content_hash_deleted_at_idx;
CREATE INDEX idx_documents_deleted_content_hash
    ON documents ((uuid_send(collection_id) || content_hash), deleted_at) WHERE status = 'deleted';
CREATE INDEX idx_documents_deleted_content_hash
    ON building.documents ((uuid_send(collection_id) || content_hash), deleted_at) WHERE status = 'deleted';

-- `document_id IS NULL` could be looked up in the index on document_id, which has the unattached locations of every
-- collection.
DROP INDEX idx_document_locations_unattached;
DROP INDEX building.document_locations_collection_id_content_hash_idx;
CREATE INDEX idx_document_locations_unattached
    ON document_locations ((uuid_send(collection_id) || content_hash)) WHERE num_nulls(document_id) = 1;
CREATE INDEX idx_document_locations_unattached
    ON building.document_locations ((uuid_send(collection_id) || content_hash)) WHERE num_nulls(document_id) = 1;

DROP INDEX idx_documents_unpurged;
DROP INDEX building.documents_collection_id_id_idx1;
CREATE INDEX idx_documents_unpurged
    ON documents (uuid_send(collection_id), id) WHERE status IN ('deleted', 'failed') AND chunk_count > 0;
CREATE INDEX idx_documents_unpurged
    ON building.documents (uuid_send(collection_id), id) WHERE status IN ('deleted', 'failed') AND chunk_count > 0;

-- Folders that could not be read: what is below them is not missing.
CREATE INDEX idx_document_locations_unreadable
    ON document_locations (uuid_send(collection_id)) WHERE set_aside ->> 'reason' = 'failed' AND mtime IS NULL;
CREATE INDEX idx_document_locations_unreadable
    ON building.document_locations (uuid_send(collection_id))
    WHERE set_aside ->> 'reason' = 'failed' AND mtime IS NULL;

-- Operations that have not ended: few, however long the history.
CREATE INDEX idx_operations_open ON operations (uuid_send(collection_id)) WHERE status IN ('pending', 'processing');
DROP INDEX idx_operations_handed_over;

-- Pages of operations, without `id` as a column.
DROP INDEX idx_operations_created_at;
CREATE INDEX idx_operations_created_at ON operations (created_at, uuid_send(id));
DROP INDEX idx_operations_collection_created_at;
CREATE INDEX idx_operations_collection_created_at ON operations (collection_id, created_at, uuid_send(id));
