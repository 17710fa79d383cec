DROP INDEX idx_operations_collection_created_at;
CREATE INDEX idx_operations_collection_created_at ON operations (collection_id, created_at, id);
DROP INDEX idx_operations_created_at;
CREATE INDEX idx_operations_created_at ON operations (created_at, id);

CREATE INDEX idx_operations_handed_over ON operations (collection_id, created_at, id)
    WHERE handed_over AND status IN ('pending', 'processing');
DROP INDEX idx_operations_open;

DROP INDEX idx_document_locations_unreadable;
DROP INDEX building.idx_document_locations_unreadable;

DROP INDEX idx_documents_unpurged;
DROP INDEX building.idx_documents_unpurged;
CREATE INDEX idx_documents_unpurged
    ON documents (collection_id, id) WHERE status IN ('deleted', 'failed') AND chunk_count > 0;
CREATE INDEX documents_collection_id_id_idx1
    ON building.documents (collection_id, id) WHERE status IN ('deleted', 'failed') AND chunk_count > 0;

DROP INDEX idx_document_locations_unattached;
DROP INDEX building.idx_document_locations_unattached;
CREATE INDEX idx_document_locations_unattached
    ON document_locations (collection_id, content_hash) WHERE document_id IS NULL;
CREATE INDEX document_locations_collection_id_content_hash_idx
    ON building.document_locations (collection_id, content_hash) WHERE document_id IS NULL;

DROP INDEX idx_documents_deleted_content_hash;
DROP INDEX building.idx_documents_deleted_content_hash;
CREATE INDEX idx_documents_deleted_content_hash
    ON documents (collection_id, content_hash, deleted_at) WHERE status = 'deleted';
CREATE INDEX documents_collection_id_content_hash_deleted_at_idx
    ON building.documents (collection_id, content_hash, deleted_at) WHERE status = 'deleted';

DROP INDEX idx_documents_collection_content_hash;
DROP INDEX building.idx_documents_collection_content_hash;
CREATE UNIQUE INDEX idx_documents_collection_content_hash
    ON documents (collection_id, content_hash) WHERE status <> 'deleted';
CREATE UNIQUE INDEX documents_collection_id_content_hash_idx
    ON building.documents (collection_id, content_hash) WHERE status <> 'deleted';

DROP INDEX idx_documents_collection_status;
CREATE INDEX idx_documents_collection_status ON documents (collection_id, status, id);
DROP INDEX idx_documents_status;
DROP INDEX building.idx_documents_status;
CREATE INDEX idx_documents_status ON documents (status);
CREATE INDEX documents_status_idx ON building.documents (status);
DROP INDEX idx_documents_collection_id;
DROP INDEX building.idx_documents_collection_id;
CREATE INDEX idx_documents_collection_id ON documents (collection_id, id);
CREATE INDEX documents_collection_id_id_idx ON building.documents (collection_id, id);
