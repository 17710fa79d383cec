DROP TRIGGER write_messages ON operations;
DROP TRIGGER tell_of_progress ON operations;
DROP TRIGGER tell_of_operation ON operations;
DROP TRIGGER tell_of_operation_that_is_new ON operations;
DROP FUNCTION write_messages();
DROP FUNCTION tell_of_progress();
DROP FUNCTION tell_of_operation();
DROP TABLE messages;
DROP TABLE executors;
ALTER TABLE operations
    DROP COLUMN progress,
    DROP COLUMN handed_over,
    DROP COLUMN not_before,
    DROP COLUMN attempt,
    DROP COLUMN continues,
    DROP COLUMN schedule_run_id;
DROP TABLE schedule_runs;
DROP TYPE schedule_run_fate;
DROP TABLE schedules;
