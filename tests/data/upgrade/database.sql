--
-- PostgreSQL database dump
--

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: building; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA building;


--
-- Name: retired; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA retired;


--
-- Name: collection_status; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.collection_status AS ENUM (
    'pending',
    'ready',
    'processing',
    'error',
    'degraded'
);


--
-- Name: document_status; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.document_status AS ENUM (
    'pending',
    'processing',
    'completed',
    'failed',
    'deleted'
);


--
-- Name: generation_status; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.generation_status AS ENUM (
    'building',
    'live',
    'retired'
);


--
-- Name: operation_status; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.operation_status AS ENUM (
    'pending',
    'processing',
    'completed',
    'failed',
    'cancelled'
);


--
-- Name: operation_type; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.operation_type AS ENUM (
    'index',
    'append',
    'reindex',
    'remove_source',
    'delete'
);


--
-- Name: schedule_run_fate; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.schedule_run_fate AS ENUM (
    'fired',
    'skipped',
    'missed'
);


--
-- Name: check_operation_collection(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_operation_collection() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM collections WHERE id = NEW.collection_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no collection %', NEW.collection_id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'fk_operations_collection_id_collections';
    END IF;
    RETURN NULL;
END
$$;


--
-- Name: end_lease(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.end_lease() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    DELETE FROM operation_leases WHERE operation_id = NEW.id;
    RETURN NULL;
END
$$;


--
-- Name: guard_operation_status(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.guard_operation_status() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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


--
-- Name: remember_collection(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.remember_collection() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO deleted_collections (id, name, owner_id, description, document_count, created_at)
    VALUES (OLD.id, OLD.name, OLD.owner_id, OLD.description, OLD.document_count, OLD.created_at)
    ON CONFLICT (id) DO NOTHING;
    -- Nobody will begin them.
    UPDATE operations SET status = 'cancelled' WHERE collection_id = OLD.id AND status = 'pending';
    RETURN NULL;
END
$$;


--
-- Name: set_updated_at(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;


--
-- Name: tell_of_operation(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.tell_of_operation() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('semantik_operation', json_build_object(
        'id', NEW.id, 'collection_id', NEW.collection_id, 'status', NEW.status)::text);
    RETURN NULL;
END
$$;


--
-- Name: tell_of_progress(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.tell_of_progress() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_TABLE_NAME = 'operation_leases' THEN
        PERFORM pg_notify('semantik_progress', NEW.operation_id::text);
    ELSE
        PERFORM pg_notify('semantik_progress', NEW.id::text);
    END IF;
    RETURN NULL;
END
$$;


--
-- Name: uri_hash(text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.uri_hash(uri text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN sha256(convert_to(uri, 'UTF8'::name));


--
-- Name: write_messages(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.write_messages() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: document_locations; Type: TABLE; Schema: building; Owner: -
--

CREATE TABLE building.document_locations (
    collection_id uuid NOT NULL,
    uri text NOT NULL,
    uri_hash bytea GENERATED ALWAYS AS (public.uri_hash(uri)) STORED NOT NULL,
    source_id uuid,
    document_id uuid,
    content_hash bytea,
    size bigint NOT NULL,
    mtime timestamp with time zone,
    ctime timestamp with time zone,
    inode bigint,
    set_aside jsonb,
    fingerprint bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    CONSTRAINT check_document_locations_content_hash CHECK ((octet_length(content_hash) = 32)),
    CONSTRAINT check_document_locations_fingerprint CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT check_document_locations_size CHECK ((size >= 0))
);


--
-- Name: document_writes; Type: TABLE; Schema: building; Owner: -
--

CREATE TABLE building.document_writes (
    document_id uuid NOT NULL,
    operation_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: documents; Type: TABLE; Schema: building; Owner: -
--

CREATE TABLE building.documents (
    id uuid NOT NULL,
    collection_id uuid NOT NULL,
    source_id uuid,
    file_path text NOT NULL,
    file_name text NOT NULL,
    file_size bigint NOT NULL,
    mime_type text,
    content_hash bytea NOT NULL,
    status public.document_status DEFAULT 'pending'::public.document_status NOT NULL,
    error_message text,
    set_aside jsonb,
    chunk_count bigint DEFAULT 0 NOT NULL,
    fingerprint bytea,
    operation_id uuid,
    deleted_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    meta jsonb DEFAULT '{}'::jsonb NOT NULL,
    attempts bigint DEFAULT 0 NOT NULL,
    retry_at timestamp with time zone,
    uri text,
    points_digest bytea,
    CONSTRAINT check_documents_content_hash CHECK ((octet_length(content_hash) = 32)),
    CONSTRAINT check_documents_counts CHECK (((file_size >= 0) AND (chunk_count >= 0))),
    CONSTRAINT check_documents_deleted_at CHECK (((status = 'deleted'::public.document_status) = (deleted_at IS NOT NULL))),
    CONSTRAINT check_documents_fingerprint CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT check_documents_points_digest CHECK ((octet_length(points_digest) = 32)),
    CONSTRAINT check_documents_set_aside CHECK (((set_aside IS NULL) OR (status = ANY (ARRAY['failed'::public.document_status, 'deleted'::public.document_status]))))
);


--
-- Name: _sqlx_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: account_audit_log; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.account_audit_log (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid,
    subject_id uuid,
    action text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    ip_address text,
    user_agent text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: api_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.api_keys (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    key_hash text NOT NULL,
    scopes text[] DEFAULT '{}'::text[] NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    last_used_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone
);


--
-- Name: collection_audit_log; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.collection_audit_log (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    collection_id uuid NOT NULL,
    operation_id uuid,
    user_id uuid,
    action text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    ip_address text,
    user_agent text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: collection_permissions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.collection_permissions (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    collection_id uuid NOT NULL,
    user_id uuid,
    api_key_id uuid,
    permission text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT check_collection_permissions_grantee CHECK ((num_nonnulls(user_id, api_key_id) = 1)),
    CONSTRAINT check_collection_permissions_permission CHECK ((permission = ANY (ARRAY['read'::text, 'write'::text, 'admin'::text])))
);


--
-- Name: collection_resource_limits; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.collection_resource_limits (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    collection_id uuid NOT NULL,
    max_documents bigint DEFAULT 100000 NOT NULL,
    max_storage_gb double precision DEFAULT 50.0 NOT NULL,
    max_operations_per_hour bigint DEFAULT 10 NOT NULL,
    max_sources bigint DEFAULT 10 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT check_collection_resource_limits_positive CHECK (((max_documents > 0) AND (max_storage_gb > (0)::double precision) AND (max_operations_per_hour > 0) AND (max_sources > 0)))
);


--
-- Name: collection_sources; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.collection_sources (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    collection_id uuid NOT NULL,
    source_path text NOT NULL,
    source_type text DEFAULT 'directory'::text NOT NULL,
    document_count bigint DEFAULT 0 NOT NULL,
    size_bytes bigint DEFAULT 0 NOT NULL,
    last_indexed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    meta jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT check_collection_sources_counts CHECK (((document_count >= 0) AND (size_bytes >= 0)))
);


--
-- Name: collections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.collections (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    description text,
    owner_id uuid NOT NULL,
    vector_store_name text NOT NULL,
    embedding_model text NOT NULL,
    quantization text DEFAULT 'float16'::text NOT NULL,
    chunk_size integer DEFAULT 1000 NOT NULL,
    chunk_overlap integer DEFAULT 200 NOT NULL,
    is_public boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    meta jsonb DEFAULT '{}'::jsonb NOT NULL,
    status public.collection_status DEFAULT 'pending'::public.collection_status NOT NULL,
    status_message text,
    qdrant_collections jsonb DEFAULT '[]'::jsonb NOT NULL,
    qdrant_staging jsonb DEFAULT '[]'::jsonb NOT NULL,
    document_count bigint DEFAULT 0 NOT NULL,
    vector_count bigint DEFAULT 0 NOT NULL,
    total_size_bytes bigint DEFAULT 0 NOT NULL,
    deleting_since timestamp with time zone,
    CONSTRAINT check_collections_chunks CHECK (((chunk_size >= 0) AND (chunk_overlap >= 0))),
    CONSTRAINT check_collections_counts CHECK (((document_count >= 0) AND (vector_count >= 0) AND (total_size_bytes >= 0))),
    CONSTRAINT check_collections_name CHECK (((name <> ''::text) AND (length(name) <= 255))),
    CONSTRAINT check_collections_quantization CHECK ((quantization = ANY (ARRAY['float32'::text, 'float16'::text, 'int8'::text])))
);


--
-- Name: deleted_collections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.deleted_collections (
    id uuid NOT NULL,
    name text NOT NULL,
    owner_id uuid NOT NULL,
    description text,
    document_count bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: document_locations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.document_locations (
    collection_id uuid NOT NULL,
    uri text NOT NULL,
    uri_hash bytea GENERATED ALWAYS AS (public.uri_hash(uri)) STORED NOT NULL,
    source_id uuid,
    document_id uuid,
    content_hash bytea,
    size bigint NOT NULL,
    mtime timestamp with time zone,
    ctime timestamp with time zone,
    inode bigint,
    set_aside jsonb,
    fingerprint bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    CONSTRAINT check_document_locations_content_hash CHECK ((octet_length(content_hash) = 32)),
    CONSTRAINT check_document_locations_fingerprint CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT check_document_locations_size CHECK ((size >= 0))
)
WITH (fillfactor='85');


--
-- Name: document_writes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.document_writes (
    document_id uuid NOT NULL,
    operation_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: documents; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.documents (
    id uuid NOT NULL,
    collection_id uuid NOT NULL,
    source_id uuid,
    file_path text NOT NULL,
    file_name text NOT NULL,
    file_size bigint NOT NULL,
    mime_type text,
    content_hash bytea NOT NULL,
    status public.document_status DEFAULT 'pending'::public.document_status NOT NULL,
    error_message text,
    set_aside jsonb,
    chunk_count bigint DEFAULT 0 NOT NULL,
    fingerprint bytea,
    operation_id uuid,
    deleted_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    meta jsonb DEFAULT '{}'::jsonb NOT NULL,
    attempts bigint DEFAULT 0 NOT NULL,
    retry_at timestamp with time zone,
    uri text,
    points_digest bytea,
    CONSTRAINT check_documents_content_hash CHECK ((octet_length(content_hash) = 32)),
    CONSTRAINT check_documents_counts CHECK (((file_size >= 0) AND (chunk_count >= 0))),
    CONSTRAINT check_documents_deleted_at CHECK (((status = 'deleted'::public.document_status) = (deleted_at IS NOT NULL))),
    CONSTRAINT check_documents_fingerprint CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT check_documents_points_digest CHECK ((octet_length(points_digest) = 32)),
    CONSTRAINT check_documents_set_aside CHECK (((set_aside IS NULL) OR (status = ANY (ARRAY['failed'::public.document_status, 'deleted'::public.document_status]))))
);


--
-- Name: executors; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.executors (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    worker text NOT NULL,
    collections uuid[] NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    files jsonb DEFAULT '[]'::jsonb NOT NULL
);


--
-- Name: generations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.generations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    collection_id uuid NOT NULL,
    number integer NOT NULL,
    status public.generation_status NOT NULL,
    vector_store_name text NOT NULL,
    embedding_model text NOT NULL,
    model_path text DEFAULT ''::text NOT NULL,
    model_fingerprint text DEFAULT ''::text NOT NULL,
    dim integer DEFAULT 0 NOT NULL,
    quantization text NOT NULL,
    chunk_size integer NOT NULL,
    chunk_overlap integer NOT NULL,
    fingerprint bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    live_at timestamp with time zone,
    retired_at timestamp with time zone,
    rolled_back_at timestamp with time zone,
    refused_at timestamp with time zone,
    sparse jsonb,
    CONSTRAINT check_generations_fingerprint CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT check_generations_live_at CHECK (((live_at IS NULL) = (status = 'building'::public.generation_status))),
    CONSTRAINT check_generations_number CHECK ((number > 0)),
    CONSTRAINT check_generations_retired_at CHECK (((retired_at IS NOT NULL) = (status = 'retired'::public.generation_status)))
);


--
-- Name: messages; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.messages (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    operation_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    target text NOT NULL,
    event text NOT NULL,
    body jsonb NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    delivered_at timestamp with time zone,
    given_up_at timestamp with time zone,
    error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: operation_leases; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.operation_leases (
    operation_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    progress jsonb
)
WITH (fillfactor='50');


--
-- Name: operation_metrics; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.operation_metrics (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    operation_id uuid NOT NULL,
    metric_name text NOT NULL,
    metric_value double precision NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: operations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.operations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    collection_id uuid NOT NULL,
    user_id uuid NOT NULL,
    type public.operation_type NOT NULL,
    status public.operation_status DEFAULT 'pending'::public.operation_status NOT NULL,
    worker text,
    config jsonb NOT NULL,
    error_message text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    meta jsonb DEFAULT '{}'::jsonb NOT NULL,
    progress jsonb,
    handed_over boolean DEFAULT false NOT NULL,
    not_before timestamp with time zone,
    attempt integer DEFAULT 1 NOT NULL,
    continues uuid,
    schedule_run_id uuid,
    CONSTRAINT check_operations_attempt CHECK ((attempt > 0)),
    CONSTRAINT check_operations_completed_at CHECK (((completed_at IS NOT NULL) = (status = ANY (ARRAY['completed'::public.operation_status, 'failed'::public.operation_status, 'cancelled'::public.operation_status]))))
);


--
-- Name: refresh_tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.refresh_tokens (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    family_id uuid NOT NULL,
    token_hash text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    used_at timestamp with time zone,
    is_revoked boolean DEFAULT false NOT NULL
);


--
-- Name: schedule_runs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.schedule_runs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    schedule_id uuid NOT NULL,
    due_at timestamp with time zone NOT NULL,
    fate public.schedule_run_fate NOT NULL,
    message text,
    worker text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: schedules; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.schedules (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    owner text NOT NULL,
    collection text NOT NULL,
    pipeline text NOT NULL,
    spec jsonb NOT NULL,
    looked_until timestamp with time zone DEFAULT now() NOT NULL,
    next_due_at timestamp with time zone,
    paused_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: setup_tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.setup_tokens (
    id boolean DEFAULT true NOT NULL,
    token_hash text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    CONSTRAINT check_setup_tokens_id CHECK (id)
);


--
-- Name: signing_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.signing_keys (
    kid text NOT NULL,
    secret bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT check_signing_keys_secret CHECK ((octet_length(secret) = 32))
);


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    username text NOT NULL,
    email text NOT NULL,
    full_name text,
    hashed_password text NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    is_superuser boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_login timestamp with time zone,
    preferences jsonb DEFAULT '{}'::jsonb NOT NULL
);


--
-- Name: document_locations; Type: TABLE; Schema: retired; Owner: -
--

CREATE TABLE retired.document_locations (
    generation_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    uri text NOT NULL,
    uri_hash bytea NOT NULL,
    source_id uuid,
    document_id uuid,
    content_hash bytea,
    size bigint NOT NULL,
    mtime timestamp with time zone,
    ctime timestamp with time zone,
    inode bigint,
    set_aside jsonb,
    fingerprint bytea,
    created_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL
);


--
-- Name: documents; Type: TABLE; Schema: retired; Owner: -
--

CREATE TABLE retired.documents (
    generation_id uuid NOT NULL,
    id uuid NOT NULL,
    collection_id uuid NOT NULL,
    source_id uuid,
    file_path text NOT NULL,
    file_name text NOT NULL,
    file_size bigint NOT NULL,
    mime_type text,
    content_hash bytea NOT NULL,
    status public.document_status NOT NULL,
    error_message text,
    set_aside jsonb,
    chunk_count bigint NOT NULL,
    fingerprint bytea,
    operation_id uuid,
    deleted_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    meta jsonb NOT NULL,
    attempts bigint NOT NULL,
    retry_at timestamp with time zone,
    uri text,
    points_digest bytea
);


--
-- Data for Name: document_locations; Type: TABLE DATA; Schema: building; Owner: -
--

COPY building.document_locations (collection_id, uri, source_id, document_id, content_hash, size, mtime, ctime, inode, set_aside, fingerprint, created_at, last_seen_at) FROM stdin;
\.


--
-- Data for Name: document_writes; Type: TABLE DATA; Schema: building; Owner: -
--

COPY building.document_writes (document_id, operation_id, collection_id, started_at) FROM stdin;
\.


--
-- Data for Name: documents; Type: TABLE DATA; Schema: building; Owner: -
--

COPY building.documents (id, collection_id, source_id, file_path, file_name, file_size, mime_type, content_hash, status, error_message, set_aside, chunk_count, fingerprint, operation_id, deleted_at, created_at, updated_at, meta, attempts, retry_at, uri, points_digest) FROM stdin;
\.


--
-- Data for Name: _sqlx_migrations; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public._sqlx_migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	accounts	2026-12-01 02:44:50.151214+00	t	\\x78b43eee095dcd715619f4fe9c2e5ba18b294ba2f71785ae33bb4f06af3e3f70fc7d556084a969922e08fa63caaacc1b	5383070
2	collections	2026-12-01 02:44:50.156881+00	t	\\x2192ccb37b0c8fea67086bdae240a5d2055566cd42e143c64df844ff504077553a38496bc1e05d38a26e609c46d51dc7	11181595
3	operations	2026-12-01 02:44:50.168234+00	t	\\xe09b43792f2f71b76ab9b8007e9f05eb3895605710ed04065ea7a3d35788ef6501293037389ec5777c2207034bdb37ca	11675006
4	documents	2026-12-01 02:44:50.180056+00	t	\\xf5d4c7cf5cee7fb900a3e7c3c208cb80c30305d16ba839b1e11cc7bd57b47806999555720764751f39997371634c3bef	13773116
5	generations	2026-12-01 02:44:50.193981+00	t	\\x941e434011c41b1b0a7a6ecc091c04c32a576b3343a50573bb7e42b5920731eb972f4f872d9c91a21f82ba4c57dde4fd	23807071
6	pages by status	2026-12-01 02:44:50.218111+00	t	\\x78a42edf8b39ed43747eed0de1cb028255f54b79491e96e71f658b57a35de25b9d7993f5f7b20f97bfe78d81ef11e72a	1144006
7	unattended	2026-12-01 02:44:50.219339+00	t	\\xc347329403774881d5fb628e9908226edf064c0a2f5670fddc578a57443e059f2179071603019e18c71349608c870aff	6363924
8	access	2026-12-01 02:44:50.228269+00	t	\\x225e6ef9a68536b0ce651df3244f168732bf5aadf2d5355d56c953e5af205a256e74756ac643cb078e43d7db42dae103	6524241
9	sparse vectors	2026-12-01 02:44:50.232524+00	t	\\xced272ee8915f5a4fd78699746a72c2e79510051f135c0ec4137c603dc293306895ea3c4bd6f17714ef5385c69a44c7c	279444
10	bounded lookups	2026-12-01 02:44:50.232872+00	t	\\xd5924f1f8a6aeaff8e06dd0b891efdbb78e9c72b20535890fe719cfbbb72b6e9c334357872eb328f0d2466cc49d403d4	10655346
11	leases	2026-12-01 02:44:50.243686+00	t	\\xb5123a68eb7a4e2d29c37a9e3fdab2c36426e8d3996fead30b077cc3c153600a5a58fe9052a230e506bb452b143921f8	1881860
12	what survives a collection	2026-12-01 02:44:50.245653+00	t	\\x545a5c2d814587ff83fa982cbe0bc63ee3d6b5e0e46ba5bd4d27b1bb344d93f6bba517b52813a0cbb12704ae4a4c5049	4006810
\.


--
-- Data for Name: account_audit_log; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.account_audit_log (id, user_id, subject_id, action, details, ip_address, user_agent, created_at) FROM stdin;
\.


--
-- Data for Name: api_keys; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.api_keys (id, user_id, name, prefix, key_hash, scopes, is_active, last_used_at, created_at, expires_at) FROM stdin;
\.


--
-- Data for Name: collection_audit_log; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.collection_audit_log (id, collection_id, operation_id, user_id, action, details, ip_address, user_agent, created_at) FROM stdin;
c9d7d378-fb61-46f6-b4a4-cfce84426152	4b5e708d-07d0-422e-aa7f-a06aa76bea06	\N	00000000-0000-0000-0000-000000000001	collection_created	{"name": "test", "model": "stand-in:16", "vectors": "4b5e708d-07d0-422e-aa7f-a06aa76bea06_standin_f16"}	\N	\N	2026-12-01 02:44:50.28206+00
52624926-c434-4b93-b74d-16d993268862	4b5e708d-07d0-422e-aa7f-a06aa76bea06	393f191b-97d6-4878-a0a0-58e52c9abb2a	00000000-0000-0000-0000-000000000001	operation_completed	{}	\N	\N	2026-12-01 02:44:50.422348+00
54bd210d-4bb3-4e1c-8e98-935a1cc01da8	4b5e708d-07d0-422e-aa7f-a06aa76bea06	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	00000000-0000-0000-0000-000000000001	operation_completed	{}	\N	\N	2026-12-01 02:44:51.288916+00
14f4bffa-db7a-4d21-8aad-9bcae6acc789	4b5e708d-07d0-422e-aa7f-a06aa76bea06	4b79855c-e3a5-42a9-8aa6-c2cef8dc9859	00000000-0000-0000-0000-000000000001	documents_deleted	{"documents": ["374f7955-c46c-5d95-a90a-d9a9c28c2a38"]}	\N	\N	2026-12-01 02:44:51.778831+00
44d332e8-674c-447b-9780-a9650ebb51cf	4b5e708d-07d0-422e-aa7f-a06aa76bea06	4b79855c-e3a5-42a9-8aa6-c2cef8dc9859	00000000-0000-0000-0000-000000000001	operation_completed	{}	\N	\N	2026-12-01 02:44:51.87632+00
\.


--
-- Data for Name: collection_permissions; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.collection_permissions (id, collection_id, user_id, api_key_id, permission, created_at) FROM stdin;
\.


--
-- Data for Name: collection_resource_limits; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.collection_resource_limits (id, collection_id, max_documents, max_storage_gb, max_operations_per_hour, max_sources, created_at, updated_at) FROM stdin;
ac8e584d-c753-4414-887c-95b8f851be25	4b5e708d-07d0-422e-aa7f-a06aa76bea06	100000	50	10	10	2026-12-01 02:44:50.278436+00	2026-12-01 02:44:50.278436+00
\.


--
-- Data for Name: collection_sources; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.collection_sources (id, collection_id, source_path, source_type, document_count, size_bytes, last_indexed_at, created_at, updated_at, meta) FROM stdin;
c12ad614-a7a2-407b-aad1-d705c3d72ebb	4b5e708d-07d0-422e-aa7f-a06aa76bea06	file:///mnt/semantik/corpus	directory	4	272	2026-12-01 02:44:51.2798+00	2026-12-01 02:44:50.345099+00	2026-12-01 02:44:51.866283+00	{"device": 39}
\.


--
-- Data for Name: collections; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.collections (id, name, description, owner_id, vector_store_name, embedding_model, quantization, chunk_size, chunk_overlap, is_public, created_at, updated_at, meta, status, status_message, qdrant_collections, qdrant_staging, document_count, vector_count, total_size_bytes, deleting_since) FROM stdin;
4b5e708d-07d0-422e-aa7f-a06aa76bea06	test	\N	00000000-0000-0000-0000-000000000001	4b5e708d-07d0-422e-aa7f-a06aa76bea06_standin_f16	stand-in:16	float16	64	8	f	2026-12-01 02:44:50.278436+00	2026-12-01 02:44:51.866283+00	{}	ready	\N	["4b5e708d-07d0-422e-aa7f-a06aa76bea06_standin_f16"]	[]	4	4	272	\N
\.


--
-- Data for Name: deleted_collections; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.deleted_collections (id, name, owner_id, description, document_count, created_at, deleted_at) FROM stdin;
\.


--
-- Data for Name: document_locations; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.document_locations (collection_id, uri, source_id, document_id, content_hash, size, mtime, ctime, inode, set_aside, fingerprint, created_at, last_seen_at) FROM stdin;
4b5e708d-07d0-422e-aa7f-a06aa76bea06	file:///mnt/semantik/corpus/bread.md	c12ad614-a7a2-407b-aad1-d705c3d72ebb	20e6d466-a4e9-51f3-90c5-02b87b8a6f4e	\\x9caec89c790fd656f906bad10a4b9fdaffa46c09f2903accd63c05296604cbd2	77	2026-12-01 02:44:48.80287+00	2026-12-01 02:44:48.80287+00	7	\N	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:51.196441+00
4b5e708d-07d0-422e-aa7f-a06aa76bea06	file:///mnt/semantik/corpus/broken.docx	c12ad614-a7a2-407b-aad1-d705c3d72ebb	1b5ad32c-0285-5069-b0e7-2a939e453594	\\xc46de6642f3333c137e6e090dae3af3f015d9840c5fadf27e604c4f0c1f953a9	23	2026-12-01 02:44:48.804079+00	2026-12-01 02:44:48.804079+00	12	\N	\N	2026-12-01 02:44:50.349269+00	2026-12-01 02:44:51.197878+00
4b5e708d-07d0-422e-aa7f-a06aa76bea06	file:///mnt/semantik/corpus/copy.txt	c12ad614-a7a2-407b-aad1-d705c3d72ebb	da7343aa-5ba1-5f35-83d6-644f12ed9d40	\\x9bb291acdc75404a2dc3286779e06cd0fe9b5f83fbcaa4b43704bb03d1957cd5	61	2026-12-01 02:44:48.804079+00	2026-12-01 02:44:48.804079+00	8	\N	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:51.197878+00
4b5e708d-07d0-422e-aa7f-a06aa76bea06	file:///mnt/semantik/corpus/hafen.html	c12ad614-a7a2-407b-aad1-d705c3d72ebb	567edf16-fafa-5aa2-a145-5613b5f1c431	\\x6c5b7df22f88406d0972959467444da54e3edb36b51d4a21817ef71a9e8bc719	97	2026-12-01 02:44:48.80287+00	2026-12-01 02:44:48.80287+00	6	\N	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:51.197878+00
4b5e708d-07d0-422e-aa7f-a06aa76bea06	file:///mnt/semantik/corpus/queued.txt	c12ad614-a7a2-407b-aad1-d705c3d72ebb	7392ed88-5adf-5959-8f49-02df87e43b22	\\x4ef3328efbb3594e601b03d3977f3121ed1bfe3e3e386edc7fa52195e6261f99	37	2026-12-01 02:44:48.804079+00	2026-12-01 02:44:48.804079+00	11	\N	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:51.197878+00
4b5e708d-07d0-422e-aa7f-a06aa76bea06	file:///mnt/semantik/corpus/harbour.txt	c12ad614-a7a2-407b-aad1-d705c3d72ebb	da7343aa-5ba1-5f35-83d6-644f12ed9d40	\\x9bb291acdc75404a2dc3286779e06cd0fe9b5f83fbcaa4b43704bb03d1957cd5	61	2026-12-01 02:44:48.80287+00	2026-12-01 02:44:48.80287+00	5	\N	\N	2026-12-01 02:44:50.345099+00	2026-12-01 02:44:51.197878+00
4b5e708d-07d0-422e-aa7f-a06aa76bea06	file:///mnt/semantik/corpus/deleted.txt	c12ad614-a7a2-407b-aad1-d705c3d72ebb	\N	\\x607f4fcbea653846b347eaee204cae622a7a04ff2c798199a1b05adb9fa99021	36	2026-12-01 02:44:48.804079+00	2026-12-01 02:44:48.804079+00	10	{"node": "delete", "reason": "withheld", "message": "was deleted by `local` on 2026-12-01"}	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:51.197878+00
\.


--
-- Data for Name: document_writes; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.document_writes (document_id, operation_id, collection_id, started_at) FROM stdin;
\.


--
-- Data for Name: documents; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.documents (id, collection_id, source_id, file_path, file_name, file_size, mime_type, content_hash, status, error_message, set_aside, chunk_count, fingerprint, operation_id, deleted_at, created_at, updated_at, meta, attempts, retry_at, uri, points_digest) FROM stdin;
1b5ad32c-0285-5069-b0e7-2a939e453594	4b5e708d-07d0-422e-aa7f-a06aa76bea06	c12ad614-a7a2-407b-aad1-d705c3d72ebb	/mnt/semantik/corpus/broken.docx	broken.docx	23	\N	\\xc46de6642f3333c137e6e090dae3af3f015d9840c5fadf27e604c4f0c1f953a9	failed	is not a valid DOCX file: not a ZIP archive, or truncated	{"node": "extract", "since": "2026-12-01T02:44:50.352857614Z", "reason": "failed"}	0	\\x3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087	393f191b-97d6-4878-a0a0-58e52c9abb2a	\N	2026-12-01 02:44:50.349269+00	2026-12-01 02:44:50.349269+00	{}	1	2026-12-01 02:49:50.349269+00	file:///mnt/semantik/corpus/broken.docx	\N
20e6d466-a4e9-51f3-90c5-02b87b8a6f4e	4b5e708d-07d0-422e-aa7f-a06aa76bea06	c12ad614-a7a2-407b-aad1-d705c3d72ebb	/mnt/semantik/corpus/bread.md	bread.md	77	text/markdown	\\x9caec89c790fd656f906bad10a4b9fdaffa46c09f2903accd63c05296604cbd2	completed	\N	\N	1	\\x3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087	393f191b-97d6-4878-a0a0-58e52c9abb2a	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:50.363153+00	{"title": "Bread"}	0	\N	file:///mnt/semantik/corpus/bread.md	\\x4b33f3ad62bd786fd6071596ec3b53d3adb97d27e527aee251e9187784d809f6
567edf16-fafa-5aa2-a145-5613b5f1c431	4b5e708d-07d0-422e-aa7f-a06aa76bea06	c12ad614-a7a2-407b-aad1-d705c3d72ebb	/mnt/semantik/corpus/hafen.html	hafen.html	97	text/html	\\x6c5b7df22f88406d0972959467444da54e3edb36b51d4a21817ef71a9e8bc719	completed	\N	\N	1	\\x3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087	393f191b-97d6-4878-a0a0-58e52c9abb2a	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:50.363153+00	{"title": "Der Hafen", "language": "de"}	0	\N	file:///mnt/semantik/corpus/hafen.html	\\xea0a6ec826fa05114a44d98f58ad8ede5a446b47da6b6c0f0921327aaf9b10c7
7392ed88-5adf-5959-8f49-02df87e43b22	4b5e708d-07d0-422e-aa7f-a06aa76bea06	c12ad614-a7a2-407b-aad1-d705c3d72ebb	/mnt/semantik/corpus/queued.txt	queued.txt	37	text/plain	\\x4ef3328efbb3594e601b03d3977f3121ed1bfe3e3e386edc7fa52195e6261f99	completed	\N	\N	1	\\x3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087	393f191b-97d6-4878-a0a0-58e52c9abb2a	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:50.363153+00	{"title": "queued"}	0	\N	file:///mnt/semantik/corpus/queued.txt	\\x8b2b3a179a00667a058fcf0b58613839ba33a6f3479e7e1f206d786960d6f9e2
da7343aa-5ba1-5f35-83d6-644f12ed9d40	4b5e708d-07d0-422e-aa7f-a06aa76bea06	c12ad614-a7a2-407b-aad1-d705c3d72ebb	/mnt/semantik/corpus/copy.txt	copy.txt	61	text/plain	\\x9bb291acdc75404a2dc3286779e06cd0fe9b5f83fbcaa4b43704bb03d1957cd5	completed	\N	\N	1	\\x3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087	393f191b-97d6-4878-a0a0-58e52c9abb2a	\N	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:50.363153+00	{"title": "copy", "language": "en"}	0	\N	file:///mnt/semantik/corpus/copy.txt	\\x2f2a5d7bb197c326c5e5c844222759c1646f08d198b87c032caddbd7836f503e
38a06dff-d4a3-5b92-a6ec-64cec84bd89a	4b5e708d-07d0-422e-aa7f-a06aa76bea06	c12ad614-a7a2-407b-aad1-d705c3d72ebb	/mnt/semantik/corpus/removed.txt	removed.txt	40	text/plain	\\x501e17408b23022fbc3d537495999725b68db5de61314b38a7204659009cc4de	deleted	\N	\N	0	\\x3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	2026-12-01 02:44:51.209889+00	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:51.245107+00	{"title": "removed"}	0	\N	file:///mnt/semantik/corpus/removed.txt	\\xa4aec409bc33ae1861e707775b352a9958913b54146103bd7dfb7084cb8228a7
374f7955-c46c-5d95-a90a-d9a9c28c2a38	4b5e708d-07d0-422e-aa7f-a06aa76bea06	c12ad614-a7a2-407b-aad1-d705c3d72ebb	/mnt/semantik/corpus/deleted.txt	deleted.txt	36	text/plain	\\x607f4fcbea653846b347eaee204cae622a7a04ff2c798199a1b05adb9fa99021	deleted	\N	\N	0	\\x3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087	393f191b-97d6-4878-a0a0-58e52c9abb2a	2026-12-01 02:44:51.769636+00	2026-12-01 02:44:50.363153+00	2026-12-01 02:44:51.837755+00	{"title": "deleted"}	0	\N	file:///mnt/semantik/corpus/deleted.txt	\\xb073da6947efe951cf98a3386d74663a4415ec79b98dde32d4c94ef68c97a0d5
\.


--
-- Data for Name: executors; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.executors (id, worker, collections, started_at, seen_at, files) FROM stdin;
7d2b0a90-70e7-4f0c-a68c-47842e424f99	process 2207 on vm	{4b5e708d-07d0-422e-aa7f-a06aa76bea06}	2026-12-01 02:44:52.94457+00	2026-12-01 02:44:52.94457+00	[{"file": "pipeline.yaml", "gone": false, "fault": null, "owner": "local", "pipeline": "test", "schedule": false, "collection": "test"}]
\.


--
-- Data for Name: generations; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.generations (id, collection_id, number, status, vector_store_name, embedding_model, model_path, model_fingerprint, dim, quantization, chunk_size, chunk_overlap, fingerprint, created_at, live_at, retired_at, rolled_back_at, refused_at, sparse) FROM stdin;
6440e3ef-ebce-4087-9d59-1bbc03f2f151	4b5e708d-07d0-422e-aa7f-a06aa76bea06	1	live	4b5e708d-07d0-422e-aa7f-a06aa76bea06_standin_f16	stand-in:16	stand-in:16	stand-in:16 1	16	float16	64	8	\\x3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087	2026-12-01 02:44:50.278436+00	2026-12-01 02:44:50.278436+00	\N	\N	\N	{"b": 0.75, "k1": 1.2, "kind": "bm25", "version": 1, "language": "auto", "average_length": 180.0}
\.


--
-- Data for Name: messages; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.messages (id, operation_id, collection_id, target, event, body, attempts, due_at, delivered_at, given_up_at, error, created_at) FROM stdin;
\.


--
-- Data for Name: operation_leases; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.operation_leases (operation_id, expires_at, progress) FROM stdin;
\.


--
-- Data for Name: operation_metrics; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.operation_metrics (id, operation_id, metric_name, metric_value, recorded_at) FROM stdin;
2c711ff6-cc94-4bf0-8f14-5dd39bcdeee9	393f191b-97d6-4878-a0a0-58e52c9abb2a	documents_seen	8	2026-12-01 02:44:50.417386+00
49d1ac20-e7f2-4193-8d08-c3402f63c85d	393f191b-97d6-4878-a0a0-58e52c9abb2a	documents_stored	6	2026-12-01 02:44:50.417386+00
763641d1-7aac-4d3b-914c-3e52c0657595	393f191b-97d6-4878-a0a0-58e52c9abb2a	documents_unchanged	0	2026-12-01 02:44:50.417386+00
ad72a110-855d-44f8-9fea-2c948fbd2e83	393f191b-97d6-4878-a0a0-58e52c9abb2a	documents_duplicate	1	2026-12-01 02:44:50.417386+00
38d964b7-7a31-4821-8794-830a57e398c0	393f191b-97d6-4878-a0a0-58e52c9abb2a	documents_set_aside	1	2026-12-01 02:44:50.417386+00
7da8a52d-e69b-4376-ba42-16ca8893d490	393f191b-97d6-4878-a0a0-58e52c9abb2a	documents_deleted	0	2026-12-01 02:44:50.417386+00
e73fafc8-1d38-4b10-b650-33179b9db2e2	393f191b-97d6-4878-a0a0-58e52c9abb2a	chunks	6	2026-12-01 02:44:50.417386+00
6ba66642-b967-45f7-8d49-fdc770bdec10	393f191b-97d6-4878-a0a0-58e52c9abb2a	tokens	74	2026-12-01 02:44:50.417386+00
df132605-1446-4fb7-8a33-94820a802a14	393f191b-97d6-4878-a0a0-58e52c9abb2a	tokens_reused	0	2026-12-01 02:44:50.417386+00
4907fe8d-7e07-4bd5-8956-d97d44dc8711	393f191b-97d6-4878-a0a0-58e52c9abb2a	seconds	0.029548752	2026-12-01 02:44:50.417386+00
ecfbf98a-6864-4695-87f3-fee477b12e6d	393f191b-97d6-4878-a0a0-58e52c9abb2a	busy_seconds.scan	0.002560545	2026-12-01 02:44:50.417386+00
ad60510d-9814-460b-8900-f1e12a794346	393f191b-97d6-4878-a0a0-58e52c9abb2a	busy_seconds.hash	2.4686e-05	2026-12-01 02:44:50.417386+00
51862bf1-f774-4da8-9b03-7f810150508c	393f191b-97d6-4878-a0a0-58e52c9abb2a	busy_seconds.dedup	9.2998e-05	2026-12-01 02:44:50.417386+00
260b98ad-f805-433c-b36f-e2279a0772d5	393f191b-97d6-4878-a0a0-58e52c9abb2a	busy_seconds.extract	0.003063421	2026-12-01 02:44:50.417386+00
7f926f84-afd2-4d55-a87a-d594c031f737	393f191b-97d6-4878-a0a0-58e52c9abb2a	busy_seconds.chunk	0.000102572	2026-12-01 02:44:50.417386+00
1dbad278-d1cb-4a57-ab84-362adc16cf0c	393f191b-97d6-4878-a0a0-58e52c9abb2a	busy_seconds.embed	0.000785774	2026-12-01 02:44:50.417386+00
9c6a56db-2861-441e-9afd-c7bd9aa025c5	393f191b-97d6-4878-a0a0-58e52c9abb2a	busy_seconds.upsert	0.021006399	2026-12-01 02:44:50.417386+00
d3fcb34e-dd8f-4d4e-847f-73b082a011b3	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	documents_seen	7	2026-12-01 02:44:51.2798+00
3a13cff5-2505-4c45-a0b1-f567e29017b4	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	documents_stored	0	2026-12-01 02:44:51.2798+00
a90db978-3a42-44b7-a516-997de6ecbaca	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	documents_unchanged	6	2026-12-01 02:44:51.2798+00
084ecf09-29c6-4ded-8fb0-d2dc24df7dc0	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	documents_duplicate	0	2026-12-01 02:44:51.2798+00
e0ef83c3-395f-4460-93d4-e020dbb664c8	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	documents_set_aside	1	2026-12-01 02:44:51.2798+00
d8483b10-ef8f-446a-802e-cecfa9788f50	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	documents_deleted	1	2026-12-01 02:44:51.2798+00
bf4dac74-0617-4d79-828b-def606b260ab	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	chunks	0	2026-12-01 02:44:51.2798+00
8aa7a202-b616-40d0-95c7-ef94407cd370	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	tokens	0	2026-12-01 02:44:51.2798+00
39d02b03-813a-4f93-b6f0-66894d5f856f	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	tokens_reused	0	2026-12-01 02:44:51.2798+00
46283e54-2476-4ed7-a20d-4537e0f74a4e	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	seconds	0.00798714	2026-12-01 02:44:51.2798+00
bff1ded7-38be-444e-a038-735ccd657590	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	busy_seconds.scan	0.003398988	2026-12-01 02:44:51.2798+00
366af7bd-c89c-4769-a917-f18c185da519	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	busy_seconds.hash	0	2026-12-01 02:44:51.2798+00
b294e700-ed63-4bf5-bb91-eb0966af7616	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	busy_seconds.dedup	0	2026-12-01 02:44:51.2798+00
66c808f1-fa5d-4b1e-90f1-a2a231950dd6	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	busy_seconds.extract	0	2026-12-01 02:44:51.2798+00
086037f7-f4b9-4af4-b2a5-9e068ded4d35	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	busy_seconds.chunk	0	2026-12-01 02:44:51.2798+00
cd873990-e1b0-4140-bf3c-be0472ce0eac	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	busy_seconds.embed	0	2026-12-01 02:44:51.2798+00
c36a4fab-fbe0-481f-9feb-084f5cda34b0	5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	busy_seconds.upsert	0	2026-12-01 02:44:51.2798+00
3cd1b87f-5541-4093-95cc-c8390c3faa9a	4b79855c-e3a5-42a9-8aa6-c2cef8dc9859	documents_deleted	1	2026-12-01 02:44:51.866283+00
449d1057-f1b6-4d58-bdc2-4068bc4357d2	4b79855c-e3a5-42a9-8aa6-c2cef8dc9859	seconds	0.102091	2026-12-01 02:44:51.866283+00
\.


--
-- Data for Name: operations; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.operations (id, collection_id, user_id, type, status, worker, config, error_message, created_at, started_at, completed_at, meta, progress, handed_over, not_before, attempt, continues, schedule_run_id) FROM stdin;
393f191b-97d6-4878-a0a0-58e52c9abb2a	4b5e708d-07d0-422e-aa7f-a06aa76bea06	00000000-0000-0000-0000-000000000001	index	completed	process 2045 on vm	{"do": "run", "anew": false, "model": "stand-in:16 1", "pipeline": "test", "fingerprint": "3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087", "retry_failed": false, "allow_deletes": false}	\N	2026-12-01 02:44:50.301385+00	2026-12-01 02:44:50.310533+00	2026-12-01 02:44:50.420805+00	{"model": {"tokens": 74, "busy_seconds": 0.0}, "report": {"nodes": [{"id": "scan", "uses": "scan", "batches": 1, "rows_in": 0, "bytes_in": 0, "rows_out": 8, "busy_seconds": 0.002560545, "blocked_seconds": 0.00003373, "starved_seconds": 0.0}, {"id": "hash", "uses": "hash", "batches": 1, "rows_in": 8, "bytes_in": 1788, "rows_out": 8, "busy_seconds": 0.000024686, "blocked_seconds": 0.00000685, "starved_seconds": 0.0028103760000000003}, {"id": "dedup", "uses": "dedup", "batches": 1, "rows_in": 8, "bytes_in": 2044, "rows_out": 7, "busy_seconds": 0.000092998, "blocked_seconds": 0.000122632, "starved_seconds": 0.002862442}, {"id": "extract", "uses": "extract", "batches": 1, "rows_in": 7, "bytes_in": 1566, "rows_out": 6, "busy_seconds": 0.003063421, "blocked_seconds": 0.000050606, "starved_seconds": 0.003099133}, {"id": "chunk", "uses": "chunk", "batches": 1, "rows_in": 6, "bytes_in": 1510, "rows_out": 6, "busy_seconds": 0.000102572, "blocked_seconds": 0.000016184, "starved_seconds": 0.006645221}, {"id": "embed", "uses": "embed", "batches": 1, "rows_in": 6, "bytes_in": 2022, "rows_out": 6, "busy_seconds": 0.000785774, "blocked_seconds": 0.000015002, "starved_seconds": 0.006803155}, {"id": "upsert", "uses": "upsert", "batches": 1, "rows_in": 6, "bytes_in": 2894, "rows_out": 0, "busy_seconds": 0.021006399, "blocked_seconds": 0.0, "starved_seconds": 0.007647196}], "chunks": 6, "tokens": 74, "deleted": 0, "reasons": {"failed": 1}, "seconds": 0.029548752, "stopped": false, "left_out": {}, "pipeline": "test", "documents": {"seen": 8, "stored": 6, "duplicate": 1, "set_aside": 1, "unchanged": 0, "interrupted": 0}, "set_aside": [{"uri": "file:///mnt/semantik/corpus/broken.docx", "node": "extract", "reason": "failed", "message": "is not a valid DOCX file: not a ZIP archive, or truncated"}], "newly_failed": 1, "tokens_reused": 0}}	{"seen": 8, "nodes": [{"id": "scan", "busy": 0.002560545, "ended": true, "batches": 1, "blocked": 0.00003373, "rows_in": 0, "starved": 0.0, "bytes_in": 0, "rows_out": 8, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "hash", "busy": 0.000024686, "ended": true, "batches": 1, "blocked": 0.00000685, "rows_in": 8, "starved": 0.0028103760000000003, "bytes_in": 1788, "rows_out": 8, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "dedup", "busy": 0.000092998, "ended": true, "batches": 1, "blocked": 0.000122632, "rows_in": 8, "starved": 0.002862442, "bytes_in": 2044, "rows_out": 7, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "extract", "busy": 0.003063421, "ended": true, "batches": 1, "blocked": 0.000050606, "rows_in": 7, "starved": 0.003099133, "bytes_in": 1566, "rows_out": 6, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "chunk", "busy": 0.000102572, "ended": true, "batches": 1, "blocked": 0.000016184, "rows_in": 6, "starved": 0.006645221, "bytes_in": 1510, "rows_out": 6, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "embed", "busy": 0.000785774, "ended": true, "batches": 1, "blocked": 0.000015002, "rows_in": 6, "starved": 0.006803155, "bytes_in": 2022, "rows_out": 6, "rows_given": 6, "queue_bytes": 0, "tokens_given": 74, "rows_under_way": 0}, {"id": "upsert", "busy": 0.021006399, "ended": true, "batches": 1, "blocked": 0.0, "rows_in": 6, "starved": 0.007647196, "bytes_in": 2894, "rows_out": 0, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}], "share": 1.0, "chunks": 6, "tokens": 74, "all_seen": true, "outcomes": {"failed": 1, "stored": 6, "duplicate": 1}, "set_aside": [{"uri": "file:///mnt/semantik/corpus/broken.docx", "node": "extract", "reason": "failed", "message": "is not a valid DOCX file: not a ZIP archive, or truncated"}], "bottleneck": "upsert", "eta_seconds": 0.0, "tokens_given": 74, "tokens_reused": 0, "elapsed_seconds": 0.158666958, "tokens_expected": 74, "in_flight_seconds": 0.0}	f	\N	1	\N	\N
4b79855c-e3a5-42a9-8aa6-c2cef8dc9859	4b5e708d-07d0-422e-aa7f-a06aa76bea06	00000000-0000-0000-0000-000000000001	delete	completed	process 2163 on vm	{"do": "delete_documents", "model": "stand-in:16 1", "pipeline": "test", "documents": ["374f7955-c46c-5d95-a90a-d9a9c28c2a38"], "fingerprint": "3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087"}	\N	2026-12-01 02:44:51.754903+00	2026-12-01 02:44:51.768318+00	2026-12-01 02:44:51.874054+00	{"documents": 1}	\N	f	\N	1	\N	\N
fa6172a5-4c4f-4d97-b0ba-8f69c5970ec0	4b5e708d-07d0-422e-aa7f-a06aa76bea06	00000000-0000-0000-0000-000000000001	delete	pending	\N	{"do": "delete_documents", "model": "stand-in:16 1", "pipeline": "test", "documents": ["7392ed88-5adf-5959-8f49-02df87e43b22"], "fingerprint": "3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087"}	\N	2026-12-01 02:44:53.410682+00	\N	\N	{}	\N	t	\N	1	\N	\N
5b2fbbb0-fa3d-4027-b729-fe2b136dc39f	4b5e708d-07d0-422e-aa7f-a06aa76bea06	00000000-0000-0000-0000-000000000001	append	completed	process 2133 on vm	{"do": "run", "anew": false, "model": "stand-in:16 1", "pipeline": "test", "fingerprint": "3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087", "retry_failed": false, "allow_deletes": false}	\N	2026-12-01 02:44:51.142564+00	2026-12-01 02:44:51.154331+00	2026-12-01 02:44:51.287054+00	{"model": {"tokens": 0, "busy_seconds": 0.0}, "report": {"nodes": [{"id": "scan", "uses": "scan", "batches": 1, "rows_in": 0, "bytes_in": 0, "rows_out": 0, "busy_seconds": 0.003398988, "blocked_seconds": 0.000163031, "starved_seconds": 0.0}, {"id": "hash", "uses": "hash", "batches": 0, "rows_in": 0, "bytes_in": 0, "rows_out": 0, "busy_seconds": 0.0, "blocked_seconds": 0.0, "starved_seconds": 0.003289105}, {"id": "dedup", "uses": "dedup", "batches": 0, "rows_in": 0, "bytes_in": 0, "rows_out": 0, "busy_seconds": 0.0, "blocked_seconds": 0.0, "starved_seconds": 0.003280933}, {"id": "extract", "uses": "extract", "batches": 0, "rows_in": 0, "bytes_in": 0, "rows_out": 0, "busy_seconds": 0.0, "blocked_seconds": 0.0, "starved_seconds": 0.003267804}, {"id": "chunk", "uses": "chunk", "batches": 0, "rows_in": 0, "bytes_in": 0, "rows_out": 0, "busy_seconds": 0.0, "blocked_seconds": 0.0, "starved_seconds": 0.003255936}, {"id": "embed", "uses": "embed", "batches": 0, "rows_in": 0, "bytes_in": 0, "rows_out": 0, "busy_seconds": 0.0, "blocked_seconds": 0.0, "starved_seconds": 0.003243448}, {"id": "upsert", "uses": "upsert", "batches": 0, "rows_in": 0, "bytes_in": 0, "rows_out": 0, "busy_seconds": 0.0, "blocked_seconds": 0.0, "starved_seconds": 0.003249558}], "chunks": 0, "tokens": 0, "deleted": 1, "reasons": {"failed": 1}, "seconds": 0.00798714, "stopped": false, "left_out": {}, "pipeline": "test", "documents": {"seen": 7, "stored": 0, "duplicate": 0, "set_aside": 1, "unchanged": 6, "interrupted": 0}, "set_aside": [{"uri": "file:///mnt/semantik/corpus/broken.docx", "node": "extract", "known": {"since": "2026-12-01T02:44:50.352857614Z"}, "reason": "failed", "message": "is not a valid DOCX file: not a ZIP archive, or truncated"}], "newly_failed": 0, "tokens_reused": 0}}	{"seen": 7, "nodes": [{"id": "scan", "busy": 0.003398988, "ended": true, "batches": 1, "blocked": 0.000163031, "rows_in": 0, "starved": 0.0, "bytes_in": 0, "rows_out": 0, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "hash", "busy": 0.0, "ended": true, "batches": 0, "blocked": 0.0, "rows_in": 0, "starved": 0.003289105, "bytes_in": 0, "rows_out": 0, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "dedup", "busy": 0.0, "ended": true, "batches": 0, "blocked": 0.0, "rows_in": 0, "starved": 0.003280933, "bytes_in": 0, "rows_out": 0, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "extract", "busy": 0.0, "ended": true, "batches": 0, "blocked": 0.0, "rows_in": 0, "starved": 0.003267804, "bytes_in": 0, "rows_out": 0, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "chunk", "busy": 0.0, "ended": true, "batches": 0, "blocked": 0.0, "rows_in": 0, "starved": 0.003255936, "bytes_in": 0, "rows_out": 0, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "embed", "busy": 0.0, "ended": true, "batches": 0, "blocked": 0.0, "rows_in": 0, "starved": 0.003243448, "bytes_in": 0, "rows_out": 0, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}, {"id": "upsert", "busy": 0.0, "ended": true, "batches": 0, "blocked": 0.0, "rows_in": 0, "starved": 0.003249558, "bytes_in": 0, "rows_out": 0, "rows_given": 0, "queue_bytes": 0, "tokens_given": 0, "rows_under_way": 0}], "share": 1.0, "chunks": 0, "tokens": 0, "all_seen": true, "outcomes": {"failed": 1, "unchanged": 6}, "set_aside": [{"uri": "file:///mnt/semantik/corpus/broken.docx", "node": "extract", "known": {"since": "2026-12-01T02:44:50.352857614Z"}, "reason": "failed", "message": "is not a valid DOCX file: not a ZIP archive, or truncated"}], "bottleneck": "scan", "eta_seconds": 0.0, "tokens_given": 0, "tokens_reused": 0, "elapsed_seconds": 0.154993899, "tokens_expected": 0, "in_flight_seconds": 0.0}	f	\N	1	\N	\N
e6fc61d2-9fa8-48c6-94fe-b1fb55101092	4b5e708d-07d0-422e-aa7f-a06aa76bea06	00000000-0000-0000-0000-000000000001	append	pending	\N	{"do": "run", "anew": false, "model": "stand-in:16 1", "pipeline": "test", "fingerprint": "3d3627bc923969e84cd0649846dc1e342d539fd537abebd8a9072e81d8d76087", "retry_failed": true, "allow_deletes": true}	\N	2026-12-01 02:44:53.982354+00	\N	\N	{}	\N	t	\N	1	\N	\N
\.


--
-- Data for Name: refresh_tokens; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.refresh_tokens (id, user_id, family_id, token_hash, expires_at, created_at, used_at, is_revoked) FROM stdin;
\.


--
-- Data for Name: schedule_runs; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.schedule_runs (id, schedule_id, due_at, fate, message, worker, created_at) FROM stdin;
\.


--
-- Data for Name: schedules; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.schedules (id, owner, collection, pipeline, spec, looked_until, next_due_at, paused_at, created_at, updated_at) FROM stdin;
\.


--
-- Data for Name: setup_tokens; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.setup_tokens (id, token_hash, expires_at, used_at) FROM stdin;
\.


--
-- Data for Name: signing_keys; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.signing_keys (kid, secret, created_at) FROM stdin;
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.users (id, username, email, full_name, hashed_password, is_active, is_superuser, created_at, last_login, preferences) FROM stdin;
00000000-0000-0000-0000-000000000001	local	local@localhost	The command on this machine	!	t	f	2026-12-01 02:44:50.151214+00	\N	{}
\.


--
-- Data for Name: document_locations; Type: TABLE DATA; Schema: retired; Owner: -
--

COPY retired.document_locations (generation_id, collection_id, uri, uri_hash, source_id, document_id, content_hash, size, mtime, ctime, inode, set_aside, fingerprint, created_at, last_seen_at) FROM stdin;
\.


--
-- Data for Name: documents; Type: TABLE DATA; Schema: retired; Owner: -
--

COPY retired.documents (generation_id, id, collection_id, source_id, file_path, file_name, file_size, mime_type, content_hash, status, error_message, set_aside, chunk_count, fingerprint, operation_id, deleted_at, created_at, updated_at, meta, attempts, retry_at, uri, points_digest) FROM stdin;
\.


--
-- Name: document_locations document_locations_pkey; Type: CONSTRAINT; Schema: building; Owner: -
--

ALTER TABLE ONLY building.document_locations
    ADD CONSTRAINT document_locations_pkey PRIMARY KEY (collection_id, uri_hash);


--
-- Name: document_writes document_writes_pkey; Type: CONSTRAINT; Schema: building; Owner: -
--

ALTER TABLE ONLY building.document_writes
    ADD CONSTRAINT document_writes_pkey PRIMARY KEY (document_id, operation_id);


--
-- Name: documents documents_pkey; Type: CONSTRAINT; Schema: building; Owner: -
--

ALTER TABLE ONLY building.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (id);


--
-- Name: _sqlx_migrations _sqlx_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);


--
-- Name: account_audit_log pk_account_audit_log; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.account_audit_log
    ADD CONSTRAINT pk_account_audit_log PRIMARY KEY (id);


--
-- Name: api_keys pk_api_keys; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (id);


--
-- Name: collection_audit_log pk_collection_audit_log; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_audit_log
    ADD CONSTRAINT pk_collection_audit_log PRIMARY KEY (id);


--
-- Name: collection_permissions pk_collection_permissions; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_permissions
    ADD CONSTRAINT pk_collection_permissions PRIMARY KEY (id);


--
-- Name: collection_resource_limits pk_collection_resource_limits; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_resource_limits
    ADD CONSTRAINT pk_collection_resource_limits PRIMARY KEY (id);


--
-- Name: collection_sources pk_collection_sources; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_sources
    ADD CONSTRAINT pk_collection_sources PRIMARY KEY (id);


--
-- Name: collections pk_collections; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collections
    ADD CONSTRAINT pk_collections PRIMARY KEY (id);


--
-- Name: deleted_collections pk_deleted_collections; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.deleted_collections
    ADD CONSTRAINT pk_deleted_collections PRIMARY KEY (id);


--
-- Name: document_locations pk_document_locations; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.document_locations
    ADD CONSTRAINT pk_document_locations PRIMARY KEY (collection_id, uri_hash);


--
-- Name: document_writes pk_document_writes; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.document_writes
    ADD CONSTRAINT pk_document_writes PRIMARY KEY (document_id, operation_id);


--
-- Name: documents pk_documents; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT pk_documents PRIMARY KEY (id);


--
-- Name: executors pk_executors; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.executors
    ADD CONSTRAINT pk_executors PRIMARY KEY (id);


--
-- Name: generations pk_generations; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.generations
    ADD CONSTRAINT pk_generations PRIMARY KEY (id);


--
-- Name: messages pk_messages; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT pk_messages PRIMARY KEY (id);


--
-- Name: operation_leases pk_operation_leases; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation_leases
    ADD CONSTRAINT pk_operation_leases PRIMARY KEY (operation_id);


--
-- Name: operation_metrics pk_operation_metrics; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation_metrics
    ADD CONSTRAINT pk_operation_metrics PRIMARY KEY (id);


--
-- Name: operations pk_operations; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operations
    ADD CONSTRAINT pk_operations PRIMARY KEY (id);


--
-- Name: refresh_tokens pk_refresh_tokens; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT pk_refresh_tokens PRIMARY KEY (id);


--
-- Name: schedule_runs pk_schedule_runs; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schedule_runs
    ADD CONSTRAINT pk_schedule_runs PRIMARY KEY (id);


--
-- Name: schedules pk_schedules; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT pk_schedules PRIMARY KEY (id);


--
-- Name: setup_tokens pk_setup_tokens; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.setup_tokens
    ADD CONSTRAINT pk_setup_tokens PRIMARY KEY (id);


--
-- Name: signing_keys pk_signing_keys; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT pk_signing_keys PRIMARY KEY (kid);


--
-- Name: users pk_users; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT pk_users PRIMARY KEY (id);


--
-- Name: api_keys uq_api_keys_key_hash; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT uq_api_keys_key_hash UNIQUE (key_hash);


--
-- Name: collection_resource_limits uq_collection_resource_limits_collection_id; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_resource_limits
    ADD CONSTRAINT uq_collection_resource_limits_collection_id UNIQUE (collection_id);


--
-- Name: collection_sources uq_collection_sources_collection_id_source_path; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_sources
    ADD CONSTRAINT uq_collection_sources_collection_id_source_path UNIQUE (collection_id, source_path);


--
-- Name: collections uq_collections_owner_id_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collections
    ADD CONSTRAINT uq_collections_owner_id_name UNIQUE (owner_id, name);


--
-- Name: collections uq_collections_vector_store_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collections
    ADD CONSTRAINT uq_collections_vector_store_name UNIQUE (vector_store_name);


--
-- Name: generations uq_generations_collection_id_number; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.generations
    ADD CONSTRAINT uq_generations_collection_id_number UNIQUE (collection_id, number);


--
-- Name: generations uq_generations_vector_store_name; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.generations
    ADD CONSTRAINT uq_generations_vector_store_name UNIQUE (vector_store_name);


--
-- Name: refresh_tokens uq_refresh_tokens_token_hash; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT uq_refresh_tokens_token_hash UNIQUE (token_hash);


--
-- Name: schedule_runs uq_schedule_runs_schedule_id_due_at; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schedule_runs
    ADD CONSTRAINT uq_schedule_runs_schedule_id_due_at UNIQUE (schedule_id, due_at);


--
-- Name: schedules uq_schedules_pipeline; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT uq_schedules_pipeline UNIQUE (owner, collection, pipeline);


--
-- Name: users uq_users_email; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT uq_users_email UNIQUE (email);


--
-- Name: users uq_users_username; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT uq_users_username UNIQUE (username);


--
-- Name: document_locations pk_document_locations; Type: CONSTRAINT; Schema: retired; Owner: -
--

ALTER TABLE ONLY retired.document_locations
    ADD CONSTRAINT pk_document_locations PRIMARY KEY (generation_id, uri_hash);


--
-- Name: documents pk_documents; Type: CONSTRAINT; Schema: retired; Owner: -
--

ALTER TABLE ONLY retired.documents
    ADD CONSTRAINT pk_documents PRIMARY KEY (generation_id, id);


--
-- Name: document_locations_document_id_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX document_locations_document_id_idx ON building.document_locations USING btree (document_id);


--
-- Name: document_locations_source_id_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX document_locations_source_id_idx ON building.document_locations USING btree (source_id);


--
-- Name: document_writes_collection_id_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX document_writes_collection_id_idx ON building.document_writes USING btree (collection_id);


--
-- Name: document_writes_operation_id_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX document_writes_operation_id_idx ON building.document_writes USING btree (operation_id);


--
-- Name: documents_collection_id_fingerprint_content_hash_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX documents_collection_id_fingerprint_content_hash_idx ON building.documents USING btree (collection_id, fingerprint, content_hash) WHERE (status = 'completed'::public.document_status);


--
-- Name: documents_collection_id_status_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX documents_collection_id_status_idx ON building.documents USING btree (collection_id, status);


--
-- Name: documents_content_hash_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX documents_content_hash_idx ON building.documents USING btree (content_hash);


--
-- Name: documents_operation_id_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX documents_operation_id_idx ON building.documents USING btree (operation_id);


--
-- Name: documents_source_id_idx; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX documents_source_id_idx ON building.documents USING btree (source_id);


--
-- Name: idx_document_locations_unattached; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX idx_document_locations_unattached ON building.document_locations USING btree (((uuid_send(collection_id) || content_hash))) WHERE (num_nulls(document_id) = 1);


--
-- Name: idx_document_locations_unreadable; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX idx_document_locations_unreadable ON building.document_locations USING btree (uuid_send(collection_id)) WHERE (((set_aside ->> 'reason'::text) = 'failed'::text) AND (mtime IS NULL));


--
-- Name: idx_documents_collection_content_hash; Type: INDEX; Schema: building; Owner: -
--

CREATE UNIQUE INDEX idx_documents_collection_content_hash ON building.documents USING btree (((uuid_send(collection_id) || content_hash))) WHERE (status <> 'deleted'::public.document_status);


--
-- Name: idx_documents_collection_id; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX idx_documents_collection_id ON building.documents USING btree (((uuid_send(collection_id) || uuid_send(id))));


--
-- Name: idx_documents_deleted_content_hash; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX idx_documents_deleted_content_hash ON building.documents USING btree (((uuid_send(collection_id) || content_hash)), deleted_at) WHERE (status = 'deleted'::public.document_status);


--
-- Name: idx_documents_status; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX idx_documents_status ON building.documents USING btree (status, ((uuid_send(collection_id) || uuid_send(id))));


--
-- Name: idx_documents_unpurged; Type: INDEX; Schema: building; Owner: -
--

CREATE INDEX idx_documents_unpurged ON building.documents USING btree (uuid_send(collection_id), id) WHERE ((status = ANY (ARRAY['deleted'::public.document_status, 'failed'::public.document_status])) AND (chunk_count > 0));


--
-- Name: idx_account_audit_log_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_account_audit_log_created_at ON public.account_audit_log USING btree (created_at, id);


--
-- Name: idx_account_audit_log_subject_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_account_audit_log_subject_id ON public.account_audit_log USING btree (subject_id);


--
-- Name: idx_account_audit_log_user_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_account_audit_log_user_id ON public.account_audit_log USING btree (user_id);


--
-- Name: idx_api_keys_prefix; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_api_keys_prefix ON public.api_keys USING btree (prefix);


--
-- Name: idx_api_keys_user_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_api_keys_user_id ON public.api_keys USING btree (user_id, id);


--
-- Name: idx_collection_audit_log_collection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collection_audit_log_collection_id ON public.collection_audit_log USING btree (collection_id, created_at, id);


--
-- Name: idx_collection_audit_log_operation_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collection_audit_log_operation_id ON public.collection_audit_log USING btree (operation_id);


--
-- Name: idx_collection_audit_log_user_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collection_audit_log_user_id ON public.collection_audit_log USING btree (user_id);


--
-- Name: idx_collection_permissions_api_key_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collection_permissions_api_key_id ON public.collection_permissions USING btree (api_key_id);


--
-- Name: idx_collection_permissions_collection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collection_permissions_collection_id ON public.collection_permissions USING btree (collection_id);


--
-- Name: idx_collection_permissions_user_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collection_permissions_user_id ON public.collection_permissions USING btree (user_id);


--
-- Name: idx_collection_sources_collection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collection_sources_collection_id ON public.collection_sources USING btree (collection_id);


--
-- Name: idx_collections_is_public; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collections_is_public ON public.collections USING btree (is_public);


--
-- Name: idx_collections_meta; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collections_meta ON public.collections USING gin (meta);


--
-- Name: idx_collections_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collections_name ON public.collections USING btree (name);


--
-- Name: idx_collections_owner_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collections_owner_id ON public.collections USING btree (owner_id);


--
-- Name: idx_collections_status; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_collections_status ON public.collections USING btree (status);


--
-- Name: idx_deleted_collections_owner_id_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_deleted_collections_owner_id_name ON public.deleted_collections USING btree (owner_id, name, deleted_at);


--
-- Name: idx_document_locations_document_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_document_locations_document_id ON public.document_locations USING btree (document_id);


--
-- Name: idx_document_locations_source_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_document_locations_source_id ON public.document_locations USING btree (source_id);


--
-- Name: idx_document_locations_unattached; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_document_locations_unattached ON public.document_locations USING btree (((uuid_send(collection_id) || content_hash))) WHERE (num_nulls(document_id) = 1);


--
-- Name: idx_document_locations_unreadable; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_document_locations_unreadable ON public.document_locations USING btree (uuid_send(collection_id)) WHERE (((set_aside ->> 'reason'::text) = 'failed'::text) AND (mtime IS NULL));


--
-- Name: idx_document_writes_collection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_document_writes_collection_id ON public.document_writes USING btree (collection_id);


--
-- Name: idx_document_writes_operation_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_document_writes_operation_id ON public.document_writes USING btree (operation_id);


--
-- Name: idx_documents_collection_content_hash; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX idx_documents_collection_content_hash ON public.documents USING btree (((uuid_send(collection_id) || content_hash))) WHERE (status <> 'deleted'::public.document_status);


--
-- Name: idx_documents_collection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_collection_id ON public.documents USING btree (((uuid_send(collection_id) || uuid_send(id))));


--
-- Name: idx_documents_collection_status; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_collection_status ON public.documents USING btree (collection_id, status);


--
-- Name: idx_documents_content_hash; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_content_hash ON public.documents USING btree (content_hash);


--
-- Name: idx_documents_deleted_content_hash; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_deleted_content_hash ON public.documents USING btree (((uuid_send(collection_id) || content_hash)), deleted_at) WHERE (status = 'deleted'::public.document_status);


--
-- Name: idx_documents_fingerprint; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_fingerprint ON public.documents USING btree (collection_id, fingerprint, content_hash) WHERE (status = 'completed'::public.document_status);


--
-- Name: idx_documents_operation_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_operation_id ON public.documents USING btree (operation_id);


--
-- Name: idx_documents_source_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_source_id ON public.documents USING btree (source_id);


--
-- Name: idx_documents_status; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_status ON public.documents USING btree (status, ((uuid_send(collection_id) || uuid_send(id))));


--
-- Name: idx_documents_unpurged; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_documents_unpurged ON public.documents USING btree (uuid_send(collection_id), id) WHERE ((status = ANY (ARRAY['deleted'::public.document_status, 'failed'::public.document_status])) AND (chunk_count > 0));


--
-- Name: idx_executors_seen_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_executors_seen_at ON public.executors USING btree (seen_at);


--
-- Name: idx_messages_due_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_messages_due_at ON public.messages USING btree (due_at) WHERE ((delivered_at IS NULL) AND (given_up_at IS NULL));


--
-- Name: idx_messages_operation_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_messages_operation_id ON public.messages USING btree (operation_id);


--
-- Name: idx_operation_metrics_operation_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operation_metrics_operation_id ON public.operation_metrics USING btree (operation_id);


--
-- Name: idx_operation_metrics_recorded_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operation_metrics_recorded_at ON public.operation_metrics USING btree (recorded_at);


--
-- Name: idx_operations_collection_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_collection_created_at ON public.operations USING btree (collection_id, created_at, uuid_send(id));


--
-- Name: idx_operations_collection_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_collection_id ON public.operations USING btree (collection_id);


--
-- Name: idx_operations_continues; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_continues ON public.operations USING btree (continues);


--
-- Name: idx_operations_created_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_created_at ON public.operations USING btree (created_at, uuid_send(id));


--
-- Name: idx_operations_open; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_open ON public.operations USING btree (uuid_send(collection_id)) WHERE (status = ANY (ARRAY['pending'::public.operation_status, 'processing'::public.operation_status]));


--
-- Name: idx_operations_pending; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_pending ON public.operations USING btree (created_at, id) WHERE (status = 'pending'::public.operation_status);


--
-- Name: idx_operations_schedule_run_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_schedule_run_id ON public.operations USING btree (schedule_run_id, created_at);


--
-- Name: idx_operations_status; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_status ON public.operations USING btree (status);


--
-- Name: idx_operations_type; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_type ON public.operations USING btree (type);


--
-- Name: idx_operations_user_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_operations_user_id ON public.operations USING btree (user_id);


--
-- Name: idx_refresh_tokens_expires_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_refresh_tokens_expires_at ON public.refresh_tokens USING btree (expires_at);


--
-- Name: idx_refresh_tokens_family_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_refresh_tokens_family_id ON public.refresh_tokens USING btree (family_id);


--
-- Name: idx_refresh_tokens_user_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_refresh_tokens_user_id ON public.refresh_tokens USING btree (user_id);


--
-- Name: uq_collection_permissions_collection_id_api_key_id; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_collection_permissions_collection_id_api_key_id ON public.collection_permissions USING btree (collection_id, api_key_id) WHERE (api_key_id IS NOT NULL);


--
-- Name: uq_collection_permissions_collection_id_user_id; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_collection_permissions_collection_id_user_id ON public.collection_permissions USING btree (collection_id, user_id) WHERE (user_id IS NOT NULL);


--
-- Name: uq_generations_collection_id_building; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_generations_collection_id_building ON public.generations USING btree (collection_id) WHERE (status = 'building'::public.generation_status);


--
-- Name: uq_generations_collection_id_live; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_generations_collection_id_live ON public.generations USING btree (collection_id) WHERE (status = 'live'::public.generation_status);


--
-- Name: uq_operations_collection_id_processing; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX uq_operations_collection_id_processing ON public.operations USING btree (collection_id) WHERE (status = 'processing'::public.operation_status);


--
-- Name: idx_document_locations_document_id; Type: INDEX; Schema: retired; Owner: -
--

CREATE INDEX idx_document_locations_document_id ON retired.document_locations USING btree (generation_id, document_id);


--
-- Name: documents set_updated_at; Type: TRIGGER; Schema: building; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON building.documents FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: operations check_operation_collection; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER check_operation_collection AFTER INSERT ON public.operations FOR EACH ROW EXECUTE FUNCTION public.check_operation_collection();


--
-- Name: operations end_lease; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER end_lease AFTER UPDATE OF status ON public.operations FOR EACH ROW WHEN ((new.status = ANY (ARRAY['completed'::public.operation_status, 'failed'::public.operation_status, 'cancelled'::public.operation_status]))) EXECUTE FUNCTION public.end_lease();


--
-- Name: operations guard_operation_status; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER guard_operation_status BEFORE INSERT OR UPDATE OF status ON public.operations FOR EACH ROW EXECUTE FUNCTION public.guard_operation_status();


--
-- Name: collections remember_collection; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER remember_collection AFTER DELETE ON public.collections FOR EACH ROW EXECUTE FUNCTION public.remember_collection();


--
-- Name: collection_resource_limits set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.collection_resource_limits FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: collection_sources set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.collection_sources FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: collections set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.collections FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: documents set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.documents FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: schedules set_updated_at; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.schedules FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();


--
-- Name: operations tell_of_operation; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER tell_of_operation AFTER UPDATE OF status ON public.operations FOR EACH ROW WHEN ((new.status IS DISTINCT FROM old.status)) EXECUTE FUNCTION public.tell_of_operation();


--
-- Name: operations tell_of_operation_that_is_new; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER tell_of_operation_that_is_new AFTER INSERT ON public.operations FOR EACH ROW EXECUTE FUNCTION public.tell_of_operation();


--
-- Name: operations tell_of_progress; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER tell_of_progress AFTER UPDATE OF progress ON public.operations FOR EACH ROW WHEN ((new.progress IS DISTINCT FROM old.progress)) EXECUTE FUNCTION public.tell_of_progress();


--
-- Name: operation_leases tell_of_progress_of_lease; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER tell_of_progress_of_lease AFTER UPDATE OF progress ON public.operation_leases FOR EACH ROW WHEN ((new.progress IS DISTINCT FROM old.progress)) EXECUTE FUNCTION public.tell_of_progress();


--
-- Name: operations write_messages; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER write_messages AFTER UPDATE OF status ON public.operations FOR EACH ROW WHEN (((new.status = ANY (ARRAY['completed'::public.operation_status, 'failed'::public.operation_status])) AND (old.status = 'processing'::public.operation_status))) EXECUTE FUNCTION public.write_messages();


--
-- Name: document_locations fk_document_locations_collection_id_collections; Type: FK CONSTRAINT; Schema: building; Owner: -
--

ALTER TABLE ONLY building.document_locations
    ADD CONSTRAINT fk_document_locations_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: document_locations fk_document_locations_document_id_documents; Type: FK CONSTRAINT; Schema: building; Owner: -
--

ALTER TABLE ONLY building.document_locations
    ADD CONSTRAINT fk_document_locations_document_id_documents FOREIGN KEY (document_id) REFERENCES building.documents(id) ON DELETE SET NULL;


--
-- Name: document_writes fk_document_writes_collection_id_collections; Type: FK CONSTRAINT; Schema: building; Owner: -
--

ALTER TABLE ONLY building.document_writes
    ADD CONSTRAINT fk_document_writes_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: document_writes fk_document_writes_operation_id_operations; Type: FK CONSTRAINT; Schema: building; Owner: -
--

ALTER TABLE ONLY building.document_writes
    ADD CONSTRAINT fk_document_writes_operation_id_operations FOREIGN KEY (operation_id) REFERENCES public.operations(id) ON DELETE CASCADE;


--
-- Name: documents fk_documents_collection_id_collections; Type: FK CONSTRAINT; Schema: building; Owner: -
--

ALTER TABLE ONLY building.documents
    ADD CONSTRAINT fk_documents_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: account_audit_log fk_account_audit_log_subject_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.account_audit_log
    ADD CONSTRAINT fk_account_audit_log_subject_id_users FOREIGN KEY (subject_id) REFERENCES public.users(id) ON DELETE SET NULL;


--
-- Name: account_audit_log fk_account_audit_log_user_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.account_audit_log
    ADD CONSTRAINT fk_account_audit_log_user_id_users FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE SET NULL;


--
-- Name: api_keys fk_api_keys_user_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT fk_api_keys_user_id_users FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: collection_audit_log fk_collection_audit_log_operation_id_operations; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_audit_log
    ADD CONSTRAINT fk_collection_audit_log_operation_id_operations FOREIGN KEY (operation_id) REFERENCES public.operations(id) ON DELETE SET NULL;


--
-- Name: collection_audit_log fk_collection_audit_log_user_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_audit_log
    ADD CONSTRAINT fk_collection_audit_log_user_id_users FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE SET NULL;


--
-- Name: collection_permissions fk_collection_permissions_api_key_id_api_keys; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_permissions
    ADD CONSTRAINT fk_collection_permissions_api_key_id_api_keys FOREIGN KEY (api_key_id) REFERENCES public.api_keys(id) ON DELETE CASCADE;


--
-- Name: collection_permissions fk_collection_permissions_collection_id_collections; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_permissions
    ADD CONSTRAINT fk_collection_permissions_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: collection_permissions fk_collection_permissions_user_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_permissions
    ADD CONSTRAINT fk_collection_permissions_user_id_users FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: collection_resource_limits fk_collection_resource_limits_collection_id_collections; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_resource_limits
    ADD CONSTRAINT fk_collection_resource_limits_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: collection_sources fk_collection_sources_collection_id_collections; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collection_sources
    ADD CONSTRAINT fk_collection_sources_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: collections fk_collections_owner_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collections
    ADD CONSTRAINT fk_collections_owner_id_users FOREIGN KEY (owner_id) REFERENCES public.users(id);


--
-- Name: deleted_collections fk_deleted_collections_owner_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.deleted_collections
    ADD CONSTRAINT fk_deleted_collections_owner_id_users FOREIGN KEY (owner_id) REFERENCES public.users(id);


--
-- Name: document_locations fk_document_locations_collection_id_collections; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.document_locations
    ADD CONSTRAINT fk_document_locations_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: document_locations fk_document_locations_document_id_documents; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.document_locations
    ADD CONSTRAINT fk_document_locations_document_id_documents FOREIGN KEY (document_id) REFERENCES public.documents(id) ON DELETE SET NULL;


--
-- Name: document_locations fk_document_locations_source_id_collection_sources; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.document_locations
    ADD CONSTRAINT fk_document_locations_source_id_collection_sources FOREIGN KEY (source_id) REFERENCES public.collection_sources(id) ON DELETE SET NULL;


--
-- Name: document_writes fk_document_writes_collection_id_collections; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.document_writes
    ADD CONSTRAINT fk_document_writes_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: document_writes fk_document_writes_operation_id_operations; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.document_writes
    ADD CONSTRAINT fk_document_writes_operation_id_operations FOREIGN KEY (operation_id) REFERENCES public.operations(id) ON DELETE CASCADE;


--
-- Name: documents fk_documents_collection_id_collections; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT fk_documents_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: documents fk_documents_operation_id_operations; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT fk_documents_operation_id_operations FOREIGN KEY (operation_id) REFERENCES public.operations(id) ON DELETE SET NULL;


--
-- Name: documents fk_documents_source_id_collection_sources; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT fk_documents_source_id_collection_sources FOREIGN KEY (source_id) REFERENCES public.collection_sources(id) ON DELETE SET NULL;


--
-- Name: generations fk_generations_collection_id_collections; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.generations
    ADD CONSTRAINT fk_generations_collection_id_collections FOREIGN KEY (collection_id) REFERENCES public.collections(id) ON DELETE CASCADE;


--
-- Name: messages fk_messages_operation_id_operations; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT fk_messages_operation_id_operations FOREIGN KEY (operation_id) REFERENCES public.operations(id) ON DELETE CASCADE;


--
-- Name: operation_leases fk_operation_leases_operation_id_operations; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation_leases
    ADD CONSTRAINT fk_operation_leases_operation_id_operations FOREIGN KEY (operation_id) REFERENCES public.operations(id) ON DELETE CASCADE;


--
-- Name: operation_metrics fk_operation_metrics_operation_id_operations; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation_metrics
    ADD CONSTRAINT fk_operation_metrics_operation_id_operations FOREIGN KEY (operation_id) REFERENCES public.operations(id) ON DELETE CASCADE;


--
-- Name: operations fk_operations_schedule_run_id_schedule_runs; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operations
    ADD CONSTRAINT fk_operations_schedule_run_id_schedule_runs FOREIGN KEY (schedule_run_id) REFERENCES public.schedule_runs(id) ON DELETE SET NULL;


--
-- Name: operations fk_operations_user_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operations
    ADD CONSTRAINT fk_operations_user_id_users FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: refresh_tokens fk_refresh_tokens_user_id_users; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT fk_refresh_tokens_user_id_users FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: schedule_runs fk_schedule_runs_schedule_id_schedules; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schedule_runs
    ADD CONSTRAINT fk_schedule_runs_schedule_id_schedules FOREIGN KEY (schedule_id) REFERENCES public.schedules(id) ON DELETE CASCADE;


--
-- Name: document_locations fk_document_locations_generation_id_generations; Type: FK CONSTRAINT; Schema: retired; Owner: -
--

ALTER TABLE ONLY retired.document_locations
    ADD CONSTRAINT fk_document_locations_generation_id_generations FOREIGN KEY (generation_id) REFERENCES public.generations(id) ON DELETE CASCADE;


--
-- Name: documents fk_documents_generation_id_generations; Type: FK CONSTRAINT; Schema: retired; Owner: -
--

ALTER TABLE ONLY retired.documents
    ADD CONSTRAINT fk_documents_generation_id_generations FOREIGN KEY (generation_id) REFERENCES public.generations(id) ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--

