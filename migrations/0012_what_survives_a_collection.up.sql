-- Operations, their metrics and the audit log outlive their collection: who deleted what, and when, is asked most often
-- after the deletion (docs/adr/0025-plans-leases-and-what-survives.md).

-- What is remembered of collections that are deleted.
CREATE TABLE deleted_collections (
    id             uuid        NOT NULL,
    name           text        NOT NULL,
    owner_id       uuid        NOT NULL,
    description    text,
    document_count bigint      NOT NULL,
    created_at     timestamptz NOT NULL,
    deleted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_deleted_collections PRIMARY KEY (id),
    CONSTRAINT fk_deleted_collections_owner_id_users FOREIGN KEY (owner_id) REFERENCES users (id)
);
CREATE INDEX idx_deleted_collections_owner_id_name ON deleted_collections (owner_id, name, deleted_at);

-- The id of a collection stays in these rows; deleted_collections has its name then.
ALTER TABLE operations DROP CONSTRAINT fk_operations_collection_id_collections;
ALTER TABLE collection_audit_log DROP CONSTRAINT fk_collection_audit_log_collection_id_collections;
-- Entries of one transaction stand in the order of their deeds.
ALTER TABLE collection_audit_log ALTER COLUMN created_at SET DEFAULT clock_timestamp();

CREATE FUNCTION remember_collection() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    INSERT INTO deleted_collections (id, name, owner_id, description, document_count, created_at)
    VALUES (OLD.id, OLD.name, OLD.owner_id, OLD.description, OLD.document_count, OLD.created_at)
    ON CONFLICT (id) DO NOTHING;
    -- Nobody will begin them.
    UPDATE operations SET status = 'cancelled' WHERE collection_id = OLD.id AND status = 'pending';
    RETURN NULL;
END
$$;
CREATE TRIGGER remember_collection AFTER DELETE ON collections
    FOR EACH ROW EXECUTE FUNCTION remember_collection();

-- An operation begins on a collection that is there, as the foreign key said.
CREATE FUNCTION check_operation_collection() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM FROM collections WHERE id = NEW.collection_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no collection %', NEW.collection_id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'fk_operations_collection_id_collections';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_operation_collection AFTER INSERT ON operations
    FOR EACH ROW EXECUTE FUNCTION check_operation_collection();

CREATE OR REPLACE FUNCTION write_messages() RETURNS trigger
    LANGUAGE plpgsql AS
$$
DECLARE
    -- How the operation before went that ended by itself.
    had_failed boolean;
BEGIN
    IF jsonb_typeof(NEW.config -> 'notify') IS DISTINCT FROM 'array' THEN
        RETURN NULL;
    END IF;
    SELECT status = 'failed' INTO had_failed FROM operations
    WHERE collection_id = NEW.collection_id AND id <> NEW.id AND status IN ('completed', 'failed')
    ORDER BY completed_at DESC LIMIT 1;
    INSERT INTO messages (operation_id, collection_id, target, event, body)
    SELECT NEW.id, NEW.collection_id, wish ->> 'target', said.event,
           jsonb_build_object(
               'type', 'operation.' || said.event,
               'timestamp', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
               'data', jsonb_build_object(
                   'operation', NEW.id, 'operation_type', NEW.type, 'status', NEW.status,
                   'pipeline', NEW.config ->> 'pipeline',
                   'collection', coalesce((SELECT name FROM collections WHERE id = NEW.collection_id),
                                          (SELECT name FROM deleted_collections WHERE id = NEW.collection_id)),
                   'attempt', NEW.attempt, 'error', NEW.error_message,
                   'started_at', NEW.started_at, 'completed_at', NEW.completed_at,
                   'documents', NEW.meta -> 'report' -> 'documents'))
    FROM jsonb_array_elements(NEW.config -> 'notify') AS wish,
         LATERAL (SELECT CASE WHEN NEW.status = 'failed' THEN 'failure'
                              WHEN had_failed AND wish -> 'on' ? 'recovery' THEN 'recovery'
                              ELSE 'success' END AS event) AS said
    WHERE wish -> 'on' ? said.event;
    RETURN NULL;
END
$$;
