DROP TABLE document_writes;
DROP TABLE document_locations;
DROP FUNCTION uri_hash(text);
DROP TABLE documents;
DROP TYPE document_status;
