-- A document is content; a location is where it was seen (docs/adr/0005-document-and-location.md).

CREATE TYPE document_status AS ENUM ('pending', 'processing', 'completed', 'failed', 'deleted');

CREATE TABLE documents (
    id            uuid            NOT NULL,
    collection_id uuid            NOT NULL,
    source_id     uuid,
    -- Where the document was when it was last written; document_locations has every place.
    file_path     text            NOT NULL,
    file_name     text            NOT NULL,
    file_size     bigint          NOT NULL,
    mime_type     text,
    -- SHA-256 as its 32 bytes: half of its hexadecimal form, in the table and in three indexes.
    content_hash  bytea           NOT NULL,
    status        document_status NOT NULL DEFAULT 'pending',
    error_message text,
    -- Of a failed document: {"node", "reason"}; the words are in error_message.
    set_aside     jsonb,
    -- How many points the vector store may hold of it; of a document that is deleted or failed, how
    -- many are still to be removed.
    chunk_count   bigint          NOT NULL DEFAULT 0,
    -- The settings that made it, and the operation that wrote it.
    fingerprint   bytea,
    operation_id  uuid,
    deleted_at    timestamptz,
    created_at    timestamptz     NOT NULL DEFAULT now(),
    updated_at    timestamptz     NOT NULL DEFAULT now(),
    -- {"title", "language", "metadata"}: what the document says of itself.
    meta          jsonb           NOT NULL DEFAULT '{}',
    CONSTRAINT pk_documents PRIMARY KEY (id),
    CONSTRAINT fk_documents_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    CONSTRAINT fk_documents_source_id_collection_sources
        FOREIGN KEY (source_id) REFERENCES collection_sources (id) ON DELETE SET NULL,
    CONSTRAINT fk_documents_operation_id_operations
        FOREIGN KEY (operation_id) REFERENCES operations (id) ON DELETE SET NULL,
    CONSTRAINT check_documents_content_hash CHECK (octet_length(content_hash) = 32),
    CONSTRAINT check_documents_fingerprint CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT check_documents_counts CHECK (file_size >= 0 AND chunk_count >= 0),
    CONSTRAINT check_documents_deleted_at CHECK ((status = 'deleted') = (deleted_at IS NOT NULL)),
    CONSTRAINT check_documents_set_aside CHECK (set_aside IS NULL OR status IN ('failed', 'deleted'))
);
-- With the id, so that it serves the pages of a list too.
CREATE INDEX idx_documents_collection_id ON documents (collection_id, id);
CREATE INDEX idx_documents_source_id ON documents (source_id);
CREATE INDEX idx_documents_operation_id ON documents (operation_id);
CREATE INDEX idx_documents_content_hash ON documents (content_hash);
CREATE INDEX idx_documents_status ON documents (status);
CREATE INDEX idx_documents_collection_status ON documents (collection_id, status);
-- A deleted document never stops its content from coming back.
CREATE UNIQUE INDEX idx_documents_collection_content_hash
    ON documents (collection_id, content_hash) WHERE status <> 'deleted';
-- The one to bring back.
CREATE INDEX idx_documents_deleted_content_hash
    ON documents (collection_id, content_hash, deleted_at) WHERE status = 'deleted';
-- What the present settings have stored, read from the index alone.
CREATE INDEX idx_documents_fingerprint
    ON documents (collection_id, fingerprint, content_hash) WHERE status = 'completed';
-- Points that are still to be removed, read from the index alone.
CREATE INDEX idx_documents_unpurged
    ON documents (collection_id, id) WHERE status IN ('deleted', 'failed') AND chunk_count > 0;
CREATE TRIGGER set_updated_at BEFORE UPDATE ON documents
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- PostgreSQL calls convert_to stable, because conversions can be redefined; to UTF-8 it always is the same.
CREATE FUNCTION uri_hash(uri text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN sha256(convert_to(uri, 'UTF8'));

-- Free space in each page lets a run note `last_seen_at` without touching an index.
CREATE TABLE document_locations (
    collection_id uuid        NOT NULL,
    uri           text        NOT NULL,
    -- A path may be longer than an entry of a B-tree may be; its digest is the key.
    uri_hash      bytea       NOT NULL GENERATED ALWAYS AS (uri_hash(uri)) STORED,
    source_id     uuid,
    -- Null where the content was never read, or where nothing holds it (yet).
    document_id   uuid,
    content_hash  bytea,
    size          bigint      NOT NULL,
    mtime         timestamptz,
    ctime         timestamptz,
    inode         bigint,
    -- Why this location did not lead to a document, or did not this time:
    -- {"node", "reason", "message"}, and the settings under which it was so.
    set_aside     jsonb,
    fingerprint   bytea,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL,
    CONSTRAINT pk_document_locations PRIMARY KEY (collection_id, uri_hash),
    CONSTRAINT fk_document_locations_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    CONSTRAINT fk_document_locations_source_id_collection_sources
        FOREIGN KEY (source_id) REFERENCES collection_sources (id) ON DELETE SET NULL,
    CONSTRAINT fk_document_locations_document_id_documents
        FOREIGN KEY (document_id) REFERENCES documents (id) ON DELETE SET NULL,
    CONSTRAINT check_document_locations_content_hash CHECK (octet_length(content_hash) = 32),
    CONSTRAINT check_document_locations_fingerprint CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT check_document_locations_size CHECK (size >= 0)
) WITH (fillfactor = 85);
CREATE INDEX idx_document_locations_document_id ON document_locations (document_id);
CREATE INDEX idx_document_locations_source_id ON document_locations (source_id);
-- Locations whose content no document holds: copies that wait for the first of them to be stored.
CREATE INDEX idx_document_locations_unattached
    ON document_locations (collection_id, content_hash) WHERE document_id IS NULL;

-- Documents whose points are being written: noted before the first point, removed by the transaction
-- that commits the document. What is left here belongs to an operation that died, and says whose
-- points cannot be trusted.
CREATE TABLE document_writes (
    document_id   uuid        NOT NULL,
    operation_id  uuid        NOT NULL,
    collection_id uuid        NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_document_writes PRIMARY KEY (document_id, operation_id),
    CONSTRAINT fk_document_writes_operation_id_operations
        FOREIGN KEY (operation_id) REFERENCES operations (id) ON DELETE CASCADE,
    CONSTRAINT fk_document_writes_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE
);
CREATE INDEX idx_document_writes_operation_id ON document_writes (operation_id);
CREATE INDEX idx_document_writes_collection_id ON document_writes (collection_id);
