DROP TABLE collection_resource_limits;
DROP TABLE collection_permissions;
DROP TABLE collection_sources;
DROP TABLE collections;
DROP TYPE collection_status;
