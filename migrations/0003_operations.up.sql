-- What is done to collections, and the record of it.

CREATE TYPE operation_type AS ENUM ('index', 'append', 'reindex', 'remove_source', 'delete');
CREATE TYPE operation_status AS ENUM ('pending', 'processing', 'completed', 'failed', 'cancelled');

CREATE TABLE operations (
    id               uuid             NOT NULL DEFAULT gen_random_uuid(),
    collection_id    uuid             NOT NULL,
    user_id          uuid             NOT NULL,
    type             operation_type   NOT NULL,
    status           operation_status NOT NULL DEFAULT 'pending',
    -- Who works on it (host and process), and until when it is theirs without a sign of life.
    worker           text,
    lease_expires_at timestamptz,
    config           jsonb            NOT NULL,
    error_message    text,
    created_at       timestamptz      NOT NULL DEFAULT now(),
    started_at       timestamptz,
    completed_at     timestamptz,
    meta             jsonb            NOT NULL DEFAULT '{}',
    CONSTRAINT pk_operations PRIMARY KEY (id),
    CONSTRAINT fk_operations_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    CONSTRAINT fk_operations_user_id_users FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT check_operations_completed_at
        CHECK ((completed_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled')))
);
CREATE INDEX idx_operations_collection_id ON operations (collection_id);
CREATE INDEX idx_operations_user_id ON operations (user_id);
CREATE INDEX idx_operations_type ON operations (type);
CREATE INDEX idx_operations_status ON operations (status);
CREATE INDEX idx_operations_created_at ON operations (created_at);
-- The queue, oldest first.
CREATE INDEX idx_operations_pending ON operations (created_at, id) WHERE status = 'pending';
-- At most one operation writes to a collection.
CREATE UNIQUE INDEX uq_operations_collection_id_processing
    ON operations (collection_id) WHERE status = 'processing';

-- The state machine. A cancelled operation can never become completed, whoever asks.
CREATE FUNCTION guard_operation_status() RETURNS trigger
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
CREATE TRIGGER guard_operation_status BEFORE INSERT OR UPDATE OF status ON operations
    FOR EACH ROW EXECUTE FUNCTION guard_operation_status();

CREATE TABLE operation_metrics (
    id           uuid             NOT NULL DEFAULT gen_random_uuid(),
    operation_id uuid             NOT NULL,
    metric_name  text             NOT NULL,
    metric_value double precision NOT NULL,
    recorded_at  timestamptz      NOT NULL DEFAULT now(),
    CONSTRAINT pk_operation_metrics PRIMARY KEY (id),
    CONSTRAINT fk_operation_metrics_operation_id_operations
        FOREIGN KEY (operation_id) REFERENCES operations (id) ON DELETE CASCADE
);
CREATE INDEX idx_operation_metrics_operation_id ON operation_metrics (operation_id);
CREATE INDEX idx_operation_metrics_recorded_at ON operation_metrics (recorded_at);

CREATE TABLE collection_audit_log (
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    collection_id uuid        NOT NULL,
    operation_id  uuid,
    user_id       uuid,
    action        text        NOT NULL,
    details       jsonb       NOT NULL DEFAULT '{}',
    ip_address    text,
    user_agent    text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_collection_audit_log PRIMARY KEY (id),
    CONSTRAINT fk_collection_audit_log_collection_id_collections
        FOREIGN KEY (collection_id) REFERENCES collections (id) ON DELETE CASCADE,
    CONSTRAINT fk_collection_audit_log_operation_id_operations
        FOREIGN KEY (operation_id) REFERENCES operations (id) ON DELETE SET NULL,
    CONSTRAINT fk_collection_audit_log_user_id_users
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL
);
CREATE INDEX idx_collection_audit_log_collection_id ON collection_audit_log (collection_id, created_at);
CREATE INDEX idx_collection_audit_log_operation_id ON collection_audit_log (operation_id);
CREATE INDEX idx_collection_audit_log_user_id ON collection_audit_log (user_id);
