DROP SCHEMA retired CASCADE;
DROP SCHEMA building CASCADE;
ALTER TABLE documents DROP COLUMN points_digest, DROP COLUMN uri, DROP COLUMN retry_at, DROP COLUMN attempts;
ALTER TABLE collections DROP COLUMN deleting_since;
DROP TABLE generations;
DROP TYPE generation_status;
