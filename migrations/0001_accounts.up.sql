-- Who may act: users, their sessions and their keys.
--
-- Ids are uuid, points in time timestamptz, sizes and counts bigint, JSON jsonb.
-- Names: idx_{table}_{columns} for indexes, uq_ for unique constraints, fk_{table}_{column}_{other}
-- for foreign keys, check_{table}_{what} for checks.

CREATE FUNCTION set_updated_at() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE users (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    username        text        NOT NULL,
    email           text        NOT NULL,
    full_name       text,
    hashed_password text        NOT NULL,
    is_active       boolean     NOT NULL DEFAULT TRUE,
    is_superuser    boolean     NOT NULL DEFAULT FALSE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    last_login      timestamptz,
    preferences     jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_username UNIQUE (username),
    CONSTRAINT uq_users_email UNIQUE (email)
);

-- The account that the command acts as. No password has a hash that starts with `!`, so nobody can
-- log in to it.
INSERT INTO users (id, username, email, full_name, hashed_password)
VALUES ('00000000-0000-0000-0000-000000000001', 'local', 'local@localhost', 'The command on this machine', '!');

CREATE TABLE refresh_tokens (
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    user_id    uuid        NOT NULL,
    -- Every token that was obtained by rotating another has its family; when a spent token comes
    -- again, somebody copied it, and the whole family is revoked.
    family_id  uuid        NOT NULL,
    token_hash text        NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,
    is_revoked boolean     NOT NULL DEFAULT FALSE,
    CONSTRAINT pk_refresh_tokens PRIMARY KEY (id),
    CONSTRAINT uq_refresh_tokens_token_hash UNIQUE (token_hash),
    CONSTRAINT fk_refresh_tokens_user_id_users
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
-- The specification's idx_refresh_tokens_token_hash is the index of uq_refresh_tokens_token_hash.
CREATE INDEX idx_refresh_tokens_user_id ON refresh_tokens (user_id);
CREATE INDEX idx_refresh_tokens_family_id ON refresh_tokens (family_id);
CREATE INDEX idx_refresh_tokens_expires_at ON refresh_tokens (expires_at);

CREATE TABLE api_keys (
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    user_id      uuid        NOT NULL,
    name         text        NOT NULL,
    -- The first characters of the key, by which a person recognises it.
    prefix       text        NOT NULL,
    key_hash     text        NOT NULL,
    scopes       text[]      NOT NULL DEFAULT '{}',
    is_active    boolean     NOT NULL DEFAULT TRUE,
    last_used_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT uq_api_keys_key_hash UNIQUE (key_hash),
    CONSTRAINT fk_api_keys_user_id_users
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX idx_api_keys_user_id ON api_keys (user_id);
CREATE INDEX idx_api_keys_prefix ON api_keys (prefix);
