-- A generation is one whole set of vectors of a collection, made with one model, and what the metadata says
-- of the documents in it (docs/adr/0010-generations.md). The tables of `public` always speak of the live one.
-- Beside them, `building` has the same tables for the one that is being built, and `retired` keeps what
-- `public` said when an earlier one was live, for going back to it.

CREATE TYPE generation_status AS ENUM ('building', 'live', 'retired');

CREATE TABLE generations (
    id                uuid              NOT NULL DEFAULT gen_random_uuid(),
    collection_id     uuid              NOT NULL,
    number            integer           NOT NULL,
    status            generation_status NOT NULL,
    vector_store_name text              NOT NULL,
    embedding_model   text              NOT NULL,
    -- Its folder, and what its vectors depend on; empty in a generation made before this was noted.
    model_path        text              NOT NULL DEFAULT '',
    model_fingerprint text              NOT NULL DEFAULT '',
    dim               integer           NOT NULL DEFAULT 0,
    quantization      text              NOT NULL,
    chunk_size        integer           NOT NULL,
    chunk_overlap     integer           NOT NULL,
    -- The settings of the last whole run on it.
    fingerprint       bytea,
    created_at        timestamptz       NOT NULL DEFAULT now(),
    live_at           timestamptz,
    retired_at        timestamptz,
    -- When somebody went back from it to the one before.
    rolled_back_at    timestamptz,
    -- When it did not pass the checks.
    refused_at        timestamptz,
    CONSTRAINT pk_generations PRIMARY KEY (id),
    CONSTRAINT uq_generations_collection_id_number UNIQUE (collection_id, number),
    CONSTRAINT uq_generations_vector_store_name UNIQUE (vector_store_name),
    CONSTRAINT fk_generations_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    CONSTRAINT check_generations_number CHECK (number > 0),
    CONSTRAINT check_generations_fingerprint CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT check_generations_live_at CHECK ((live_at IS NULL) = (status = 'building')),
    CONSTRAINT check_generations_retired_at CHECK ((retired_at IS NOT NULL) = (status = 'retired'))
);
CREATE UNIQUE INDEX uq_generations_collection_id_building
    ON generations (collection_id) WHERE status = 'building';
CREATE UNIQUE INDEX uq_generations_collection_id_live ON generations (collection_id) WHERE status = 'live';

INSERT INTO generations (collection_id, number, status, vector_store_name, embedding_model, quantization,
                         chunk_size, chunk_overlap, live_at)
SELECT id, 1, 'live', vector_store_name, embedding_model, quantization, chunk_size, chunk_overlap, created_at
FROM collections;

-- Deletion of the collection has begun: whoever comes next finishes it.
ALTER TABLE collections ADD COLUMN deleting_since timestamptz;

-- How often a document has failed with this content, and when trying again may make sense.
ALTER TABLE documents
    ADD COLUMN attempts bigint NOT NULL DEFAULT 0,
    ADD COLUMN retry_at timestamptz,
    -- Where its points say that it is; its locations may be others by now.
    ADD COLUMN uri text,
    -- What its points hold, hashed: points that would be written as they are need not be.
    ADD COLUMN points_digest bytea,
    ADD CONSTRAINT check_documents_points_digest CHECK (octet_length(points_digest) = 32);

CREATE SCHEMA building;

CREATE TABLE building.documents (LIKE documents INCLUDING ALL);
ALTER TABLE building.documents ADD CONSTRAINT fk_documents_collection_id_collections
    FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE;
CREATE TRIGGER set_updated_at BEFORE UPDATE ON building.documents
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE building.document_locations (LIKE document_locations INCLUDING ALL);
ALTER TABLE building.document_locations
    ADD CONSTRAINT fk_document_locations_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    ADD CONSTRAINT fk_document_locations_document_id_documents
        FOREIGN KEY (document_id) REFERENCES building.documents (id) ON DELETE SET NULL;

CREATE TABLE building.document_writes (LIKE document_writes INCLUDING ALL);
ALTER TABLE building.document_writes
    ADD CONSTRAINT fk_document_writes_operation_id_operations
        FOREIGN KEY (operation_id) REFERENCES operations (id) ON DELETE CASCADE,
    ADD CONSTRAINT fk_document_writes_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE;

CREATE SCHEMA retired;

CREATE TABLE retired.documents (
    generation_id uuid NOT NULL,
    LIKE documents,
    CONSTRAINT pk_documents PRIMARY KEY (generation_id, id),
    CONSTRAINT fk_documents_generation_id_generations
        FOREIGN KEY (generation_id) REFERENCES generations (id) ON DELETE CASCADE
);
CREATE TABLE retired.document_locations (
    generation_id uuid NOT NULL,
    LIKE document_locations,
    CONSTRAINT pk_document_locations PRIMARY KEY (generation_id, uri_hash),
    CONSTRAINT fk_document_locations_generation_id_generations
        FOREIGN KEY (generation_id) REFERENCES generations (id) ON DELETE CASCADE
);
CREATE INDEX idx_document_locations_document_id ON retired.document_locations (generation_id, document_id);
