-- With the id, so that it serves the pages of a list of one status, too.

DROP INDEX idx_documents_collection_status;
CREATE INDEX idx_documents_collection_status ON documents (collection_id, status, id);
