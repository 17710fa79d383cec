-- Collections, where their documents come from, who may use them, and how large they may grow.

CREATE TYPE collection_status AS ENUM ('pending', 'ready', 'processing', 'error', 'degraded');

CREATE TABLE collections (
    id                 uuid              NOT NULL DEFAULT gen_random_uuid(),
    name               text              NOT NULL,
    description        text,
    owner_id           uuid              NOT NULL,
    -- The vector collection that searches read: {id}_{model}_{quantization}.
    vector_store_name  text              NOT NULL,
    embedding_model    text              NOT NULL,
    quantization       text              NOT NULL DEFAULT 'float16',
    chunk_size         integer           NOT NULL DEFAULT 1000,
    chunk_overlap      integer           NOT NULL DEFAULT 200,
    is_public          boolean           NOT NULL DEFAULT FALSE,
    created_at         timestamptz       NOT NULL DEFAULT now(),
    updated_at         timestamptz       NOT NULL DEFAULT now(),
    meta               jsonb             NOT NULL DEFAULT '{}',
    status             collection_status NOT NULL DEFAULT 'pending',
    status_message     text,
    -- Every vector collection that belongs to this one, and those that are being built.
    qdrant_collections jsonb             NOT NULL DEFAULT '[]',
    qdrant_staging     jsonb             NOT NULL DEFAULT '[]',
    document_count     bigint            NOT NULL DEFAULT 0,
    vector_count       bigint            NOT NULL DEFAULT 0,
    total_size_bytes   bigint            NOT NULL DEFAULT 0,
    CONSTRAINT pk_collections PRIMARY KEY (id),
    CONSTRAINT uq_collections_owner_id_name UNIQUE (owner_id, name),
    CONSTRAINT uq_collections_vector_store_name UNIQUE (vector_store_name),
    -- Not ON DELETE CASCADE: the vectors of a collection would stay behind. Its owner can go when
    -- the collections are gone.
    CONSTRAINT fk_collections_owner_id_users FOREIGN KEY (owner_id) REFERENCES users (id),
    CONSTRAINT check_collections_name CHECK (name <> '' AND length(name) <= 255),
    CONSTRAINT check_collections_quantization CHECK (quantization IN ('float32', 'float16', 'int8')),
    -- 0: the pipeline does not cut documents by size.
    CONSTRAINT check_collections_chunks CHECK (chunk_size >= 0 AND chunk_overlap >= 0),
    CONSTRAINT check_collections_counts
        CHECK (document_count >= 0 AND vector_count >= 0 AND total_size_bytes >= 0)
);
CREATE INDEX idx_collections_owner_id ON collections (owner_id);
CREATE INDEX idx_collections_name ON collections (name);
CREATE INDEX idx_collections_is_public ON collections (is_public);
CREATE INDEX idx_collections_status ON collections (status);
CREATE INDEX idx_collections_meta ON collections USING gin (meta);
CREATE TRIGGER set_updated_at BEFORE UPDATE ON collections
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE collection_sources (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    collection_id   uuid        NOT NULL,
    source_path     text        NOT NULL,
    source_type     text        NOT NULL DEFAULT 'directory',
    document_count  bigint      NOT NULL DEFAULT 0,
    size_bytes      bigint      NOT NULL DEFAULT 0,
    last_indexed_at timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    meta            jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT pk_collection_sources PRIMARY KEY (id),
    CONSTRAINT uq_collection_sources_collection_id_source_path UNIQUE (collection_id, source_path),
    CONSTRAINT fk_collection_sources_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    CONSTRAINT check_collection_sources_counts CHECK (document_count >= 0 AND size_bytes >= 0)
);
CREATE INDEX idx_collection_sources_collection_id ON collection_sources (collection_id);
CREATE TRIGGER set_updated_at BEFORE UPDATE ON collection_sources
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE collection_permissions (
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    collection_id uuid        NOT NULL,
    user_id       uuid,
    api_key_id    uuid,
    permission    text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_collection_permissions PRIMARY KEY (id),
    CONSTRAINT fk_collection_permissions_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    CONSTRAINT fk_collection_permissions_user_id_users
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_collection_permissions_api_key_id_api_keys
        FOREIGN KEY (api_key_id) REFERENCES api_keys (id) ON DELETE CASCADE,
    CONSTRAINT check_collection_permissions_permission CHECK (permission IN ('read', 'write', 'admin')),
    CONSTRAINT check_collection_permissions_grantee CHECK (num_nonnulls(user_id, api_key_id) = 1)
);
CREATE INDEX idx_collection_permissions_collection_id ON collection_permissions (collection_id);
CREATE INDEX idx_collection_permissions_user_id ON collection_permissions (user_id);
CREATE INDEX idx_collection_permissions_api_key_id ON collection_permissions (api_key_id);
-- One grant for one grantee: raising it is an update.
CREATE UNIQUE INDEX uq_collection_permissions_collection_id_user_id
    ON collection_permissions (collection_id, user_id) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX uq_collection_permissions_collection_id_api_key_id
    ON collection_permissions (collection_id, api_key_id) WHERE api_key_id IS NOT NULL;

CREATE TABLE collection_resource_limits (
    id                      uuid             NOT NULL DEFAULT gen_random_uuid(),
    collection_id           uuid             NOT NULL,
    max_documents           bigint           NOT NULL DEFAULT 100000,
    max_storage_gb          double precision NOT NULL DEFAULT 50.0,
    max_operations_per_hour bigint           NOT NULL DEFAULT 10,
    max_sources             bigint           NOT NULL DEFAULT 10,
    created_at              timestamptz      NOT NULL DEFAULT now(),
    updated_at              timestamptz      NOT NULL DEFAULT now(),
    CONSTRAINT pk_collection_resource_limits PRIMARY KEY (id),
    CONSTRAINT uq_collection_resource_limits_collection_id UNIQUE (collection_id),
    CONSTRAINT fk_collection_resource_limits_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    CONSTRAINT check_collection_resource_limits_positive CHECK (
        max_documents > 0 AND max_storage_gb > 0 AND max_operations_per_hour > 0 AND max_sources > 0)
);
CREATE TRIGGER set_updated_at BEFORE UPDATE ON collection_resource_limits
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
