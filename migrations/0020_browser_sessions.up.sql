-- The session of a browser: one credential in a cookie, which is not spent by using it, so that several tabs can use it
-- at once (docs/adr/0028-browser-sessions.md).
ALTER TABLE refresh_tokens ADD COLUMN is_browser boolean NOT NULL DEFAULT FALSE;
