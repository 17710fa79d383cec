-- What the HTTP front end needs to let people in: keys that sign its tokens, the one-time token that makes the first
-- administrator, and a record of what is done to accounts (docs/adr/0016-access.md).

-- Access tokens are signed by the newest key and checked against all of them, by every server of the database.
CREATE TABLE signing_keys (
    kid        text        NOT NULL,
    secret     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_signing_keys PRIMARY KEY (kid),
    CONSTRAINT check_signing_keys_secret CHECK (octet_length(secret) = 32)
);

-- One row at most: the token that the last start printed, as its SHA-256.
CREATE TABLE setup_tokens (
    id         boolean     NOT NULL DEFAULT TRUE,
    token_hash text        NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CONSTRAINT pk_setup_tokens PRIMARY KEY (id),
    CONSTRAINT check_setup_tokens_id CHECK (id)
);

-- What is done to accounts, sessions and keys belongs to no collection.
CREATE TABLE account_audit_log (
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    -- Who did it; null where nobody was logged in, or the account is gone.
    user_id    uuid,
    -- The account it was done to.
    subject_id uuid,
    action     text        NOT NULL,
    details    jsonb       NOT NULL DEFAULT '{}',
    ip_address text,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_account_audit_log PRIMARY KEY (id),
    CONSTRAINT fk_account_audit_log_user_id_users
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT fk_account_audit_log_subject_id_users
        FOREIGN KEY (subject_id) REFERENCES users (id) ON DELETE SET NULL
);
CREATE INDEX idx_account_audit_log_created_at ON account_audit_log (created_at, id);
CREATE INDEX idx_account_audit_log_user_id ON account_audit_log (user_id);
CREATE INDEX idx_account_audit_log_subject_id ON account_audit_log (subject_id);

-- With the id, so that they serve the pages of lists.
DROP INDEX idx_collection_audit_log_collection_id;
CREATE INDEX idx_collection_audit_log_collection_id
    ON collection_audit_log (collection_id, created_at, id);
CREATE INDEX idx_operations_collection_created_at ON operations (collection_id, created_at, id);
DROP INDEX idx_operations_created_at;
CREATE INDEX idx_operations_created_at ON operations (created_at, id);
DROP INDEX idx_api_keys_user_id;
CREATE INDEX idx_api_keys_user_id ON api_keys (user_id, id);
