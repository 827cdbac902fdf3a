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

-- name: unguarded
-- Tables of the log without a trigger that refuses this, whatever the session's replication role.
SELECT DISTINCT guarded.name FROM (VALUES
    ('event', 'append_only'), ('event', 'no_truncate'),
    ('receipt', 'append_only'), ('receipt', 'no_truncate'),
    ('event_type', 'append_only'), ('event_type', 'no_truncate'),
    ('installation', 'append_only'), ('installation', 'no_truncate'),
    ('tag', 'unchanging'), ('tag', 'open_tags_stay'), ('tag', 'no_truncate'),
    ('seal', 'unchanging'), ('seal', 'no_truncate'),
    ('log', 'undeletable'), ('log', 'no_truncate'),
    ('record_key', 'undeletable'), ('record_key', 'no_truncate'),
    ('kek_epoch', 'undeletable'), ('kek_epoch', 'no_truncate'),
    ('principal', 'append_only'), ('principal', 'no_truncate'),
    ('api_key', 'ending_only'), ('api_key', 'undeletable'), ('api_key', 'no_truncate')
) AS guarded (name, trigger)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger t
    WHERE t.tgrelid = to_regclass('hub.' || guarded.name) AND t.tgname = guarded.trigger AND t.tgenabled = 'A'
)
ORDER BY guarded.name

-- name: database
SELECT split_part(current_setting('server_version'), ' ', 1), current_database(), pg_database_size(current_database())
