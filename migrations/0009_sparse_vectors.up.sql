-- How the sparse vectors of a generation were made; null in one that has none. Words have to be looked for as
-- they were stored.
ALTER TABLE generations ADD COLUMN sparse jsonb;
