-- Operations that somebody else carries out, how far they are, what runs when, and who is told
-- (docs/adr/0017-queue-and-schedules.md).

-- What runs when. A schedule is a pipeline's; the same file on several machines is one schedule.
CREATE TABLE schedules (
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    owner         text        NOT NULL,
    collection    text        NOT NULL,
    pipeline      text        NOT NULL,
    -- As the file says it: cron, timezone, …; never a secret.
    spec          jsonb       NOT NULL,
    -- Every moment up to this one has been looked at: what was due is in schedule_runs.
    looked_until  timestamptz NOT NULL DEFAULT now(),
    next_due_at   timestamptz,
    -- By a person; the file may pause it, too.
    paused_at     timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_schedules PRIMARY KEY (id),
    CONSTRAINT uq_schedules_pipeline UNIQUE (owner, collection, pipeline)
);
CREATE TRIGGER set_updated_at BEFORE UPDATE ON schedules
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TYPE schedule_run_fate AS ENUM ('fired', 'skipped', 'missed');

CREATE TABLE schedule_runs (
    id          uuid              NOT NULL DEFAULT gen_random_uuid(),
    schedule_id uuid              NOT NULL,
    -- By the calendar, without jitter; of a run that somebody asked for, when they did.
    due_at      timestamptz       NOT NULL,
    fate        schedule_run_fate NOT NULL,
    -- Why it was skipped or missed.
    message     text,
    -- Who put it there.
    worker      text              NOT NULL,
    created_at  timestamptz       NOT NULL DEFAULT now(),
    CONSTRAINT pk_schedule_runs PRIMARY KEY (id),
    -- However many workers there are, a run is there once.
    CONSTRAINT uq_schedule_runs_schedule_id_due_at UNIQUE (schedule_id, due_at),
    CONSTRAINT fk_schedule_runs_schedule_id_schedules
        FOREIGN KEY (schedule_id) REFERENCES schedules (id) ON DELETE CASCADE
);

ALTER TABLE operations
    -- How far it is, written by who carries it out about once a second.
    ADD COLUMN progress        jsonb,
    -- Nobody waits for it: it is for whoever serves the collection.
    ADD COLUMN handed_over     boolean NOT NULL DEFAULT FALSE,
    ADD COLUMN not_before      timestamptz,
    -- Which try it is, and of what; a try ends with its worker.
    ADD COLUMN attempt         integer NOT NULL DEFAULT 1,
    ADD COLUMN continues       uuid,
    ADD COLUMN schedule_run_id uuid,
    ADD CONSTRAINT check_operations_attempt CHECK (attempt > 0),
    ADD CONSTRAINT fk_operations_schedule_run_id_schedule_runs
        FOREIGN KEY (schedule_run_id) REFERENCES schedule_runs (id) ON DELETE SET NULL;
CREATE INDEX idx_operations_handed_over ON operations (collection_id, created_at, id)
    WHERE handed_over AND status IN ('pending', 'processing');
CREATE INDEX idx_operations_schedule_run_id ON operations (schedule_run_id, created_at);
CREATE INDEX idx_operations_continues ON operations (continues);

-- Who carries out operations that are handed over, and of which collections.
CREATE TABLE executors (
    id          uuid        NOT NULL DEFAULT gen_random_uuid(),
    worker      text        NOT NULL,
    collections uuid[]      NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now(),
    -- Of each file that it serves: what is wrong with it, if anything.
    files       jsonb       NOT NULL DEFAULT '[]',
    CONSTRAINT pk_executors PRIMARY KEY (id)
);
CREATE INDEX idx_executors_seen_at ON executors (seen_at);

-- What is still to be told to whom. Addresses and keys are in the files of those who deliver; here is but the
-- name of the place.
CREATE TABLE messages (
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    operation_id uuid        NOT NULL,
    collection_id uuid       NOT NULL,
    target       text        NOT NULL,
    event        text        NOT NULL,
    body         jsonb       NOT NULL,
    attempts     integer     NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    given_up_at  timestamptz,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_messages PRIMARY KEY (id),
    CONSTRAINT fk_messages_operation_id_operations
        FOREIGN KEY (operation_id) REFERENCES operations (id) ON DELETE CASCADE
);
CREATE INDEX idx_messages_operation_id ON messages (operation_id);
CREATE INDEX idx_messages_due_at ON messages (due_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;

CREATE FUNCTION tell_of_operation() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM pg_notify('semantik_operation', json_build_object(
        'id', NEW.id, 'collection_id', NEW.collection_id, 'status', NEW.status)::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_operation_that_is_new AFTER INSERT ON operations
    FOR EACH ROW EXECUTE FUNCTION tell_of_operation();
CREATE TRIGGER tell_of_operation AFTER UPDATE OF status ON operations
    FOR EACH ROW WHEN (NEW.status IS DISTINCT FROM OLD.status) EXECUTE FUNCTION tell_of_operation();

CREATE FUNCTION tell_of_progress() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM pg_notify('semantik_progress', NEW.id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_progress AFTER UPDATE OF progress ON operations
    FOR EACH ROW WHEN (NEW.progress IS DISTINCT FROM OLD.progress) EXECUTE FUNCTION tell_of_progress();

-- Messages are written by the transaction that ends the operation, so that none is forgotten and none is about
-- something that never was. `config.notify` is [{"target", "on": ["failure" | "success" | "recovery"]}].
CREATE FUNCTION write_messages() RETURNS trigger
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
CREATE TRIGGER write_messages AFTER UPDATE OF status ON operations
    FOR EACH ROW WHEN (NEW.status IN ('completed', 'failed') AND OLD.status = 'processing')
    EXECUTE FUNCTION write_messages();
