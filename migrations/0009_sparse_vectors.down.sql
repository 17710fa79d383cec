ALTER TABLE generations DROP COLUMN sparse;
