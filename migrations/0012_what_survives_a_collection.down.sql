-- What is known of collections that are gone goes with them again.
DROP TRIGGER check_operation_collection ON operations;
DROP FUNCTION check_operation_collection();
DROP TRIGGER remember_collection ON collections;
DROP FUNCTION remember_collection();
DELETE FROM collection_audit_log a WHERE NOT EXISTS (SELECT FROM collections c WHERE c.id = a.collection_id);
DELETE FROM operations o WHERE NOT EXISTS (SELECT FROM collections c WHERE c.id = o.collection_id);
ALTER TABLE operations ADD CONSTRAINT fk_operations_collection_id_collections
    FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE;
ALTER TABLE collection_audit_log ADD CONSTRAINT fk_collection_audit_log_collection_id_collections
    FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE;
ALTER TABLE collection_audit_log ALTER COLUMN created_at SET DEFAULT now();
DROP TABLE deleted_collections;

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
                   'collection', (SELECT name FROM collections WHERE id = NEW.collection_id),
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
