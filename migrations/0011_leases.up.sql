-- A lease is a row of its own. The transactions of a run lock the row of their operation, and a sign of life that had to
-- wait for them would make a long transaction look dead (docs/adr/0025-plans-leases-and-what-survives.md).

-- Until when an operation is its worker's without a sign of life, and how far it is. One that waits has a lease where
-- somebody waits for it; one that has ended has none.
CREATE TABLE operation_leases (
    operation_id uuid        NOT NULL,
    expires_at   timestamptz NOT NULL,
    progress     jsonb,
    CONSTRAINT pk_operation_leases PRIMARY KEY (operation_id),
    CONSTRAINT fk_operation_leases_operation_id_operations
        FOREIGN KEY (operation_id) REFERENCES operations (id) ON DELETE CASCADE
) WITH (fillfactor = 50);

INSERT INTO operation_leases (operation_id, expires_at, progress)
SELECT id, lease_expires_at, progress FROM operations
WHERE lease_expires_at IS NOT NULL AND status IN ('pending', 'processing');

ALTER TABLE operations DROP COLUMN lease_expires_at;

CREATE TRIGGER tell_of_progress_of_lease AFTER UPDATE OF progress ON operation_leases
    FOR EACH ROW WHEN (NEW.progress IS DISTINCT FROM OLD.progress) EXECUTE FUNCTION tell_of_progress();

-- `operation_id` of a lease is the id of an operation.
CREATE OR REPLACE FUNCTION tell_of_progress() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_TABLE_NAME = 'operation_leases' THEN
        PERFORM pg_notify('semantik_progress', NEW.operation_id::text);
    ELSE
        PERFORM pg_notify('semantik_progress', NEW.id::text);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION guard_operation_status() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'pending' THEN
            RAISE EXCEPTION 'an operation starts as pending, not as %', NEW.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'check_operations_transition';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.status = OLD.status THEN
        RETURN NEW;
    END IF;
    IF NOT ((OLD.status = 'pending' AND NEW.status IN ('processing', 'cancelled'))
        OR (OLD.status = 'processing' AND NEW.status IN ('completed', 'failed', 'cancelled'))) THEN
        RAISE EXCEPTION 'operation % is %, and cannot become %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'check_operations_transition';
    END IF;
    IF NEW.status = 'processing' THEN
        NEW.started_at := clock_timestamp();
    ELSE
        NEW.completed_at := clock_timestamp();
        -- How far it was at last; whoever ends it properly has noted more than that.
        NEW.progress := coalesce(
            NEW.progress, (SELECT l.progress FROM operation_leases l WHERE l.operation_id = NEW.id));
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION end_lease() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    DELETE FROM operation_leases WHERE operation_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER end_lease AFTER UPDATE OF status ON operations
    FOR EACH ROW WHEN (NEW.status IN ('completed', 'failed', 'cancelled')) EXECUTE FUNCTION end_lease();
