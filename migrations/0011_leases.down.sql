DROP TRIGGER end_lease ON operations;
DROP FUNCTION end_lease();

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
        NEW.lease_expires_at := NULL;
    END IF;
    RETURN NEW;
END
$$;

DROP TRIGGER tell_of_progress_of_lease ON operation_leases;
CREATE OR REPLACE FUNCTION tell_of_progress() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM pg_notify('semantik_progress', NEW.id::text);
    RETURN NULL;
END
$$;

ALTER TABLE operations ADD COLUMN lease_expires_at timestamptz;
UPDATE operations o SET lease_expires_at = l.expires_at, progress = coalesce(o.progress, l.progress)
FROM operation_leases l WHERE l.operation_id = o.id;
DROP TABLE operation_leases;
