-- Without the column a cookie would be good as a refresh token.
DELETE FROM refresh_tokens WHERE is_browser;
ALTER TABLE refresh_tokens DROP COLUMN is_browser;
