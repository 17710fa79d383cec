-- The id is an expression here: an index that has it as a column could stand in for the primary key while there are no
-- statistics (docs/adr/0025-plans-leases-and-what-survives.md).
--
-- One index for each order of the list of documents. They begin with the status: a list of one status is read in
-- order, and a list of all merges five of them (sinks/src/postgres/listing.rs).

-- The collation is named, so that the order is the same whatever the database was made with; the length is
-- bounded, since an entry of a B-tree is.
CREATE INDEX idx_documents_status_name
    ON documents (collection_id, status, left(lower(file_name COLLATE "C"), 200), uuid_send(id));
CREATE INDEX idx_documents_status_size ON documents (collection_id, status, file_size, uuid_send(id));
CREATE INDEX idx_documents_status_updated_at ON documents (collection_id, status, updated_at, uuid_send(id));
-- Documents that were set aside, by reason.
CREATE INDEX idx_documents_set_aside_name
    ON documents (collection_id, (set_aside ->> 'reason'), left(lower(file_name COLLATE "C"), 200), uuid_send(id))
    WHERE status = 'failed';
