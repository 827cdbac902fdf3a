-- name: heads
-- Of each log the last event: its position, and when it was recorded.
SELECT l.name, coalesce(last.position, 0), last.recorded_at FROM log l
LEFT JOIN LATERAL (
    SELECT position, recorded_at FROM event WHERE log = l.id ORDER BY position DESC LIMIT 1
) last ON true
ORDER BY l.id

-- name: waiting
-- What waits in quarantine, and when the first of it was recorded.
SELECT count(*), (
    SELECT e.recorded_at FROM event e WHERE e.log = 1 AND e.position = (SELECT min(position) FROM quarantine)
) FROM quarantine

-- name: database
SELECT split_part(current_setting('server_version'), ' ', 1), current_database(), pg_database_size(current_database())
