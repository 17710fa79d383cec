DROP TABLE collection_audit_log;
DROP TABLE operation_metrics;
DROP TABLE operations;
DROP FUNCTION guard_operation_status();
DROP TYPE operation_status;
DROP TYPE operation_type;
