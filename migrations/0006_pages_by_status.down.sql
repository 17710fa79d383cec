DROP INDEX idx_documents_collection_status;
CREATE INDEX idx_documents_collection_status ON documents (collection_id, status);
