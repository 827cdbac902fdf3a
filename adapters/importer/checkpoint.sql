-- name: saved
SELECT after_row, since, state, seen FROM import_checkpoint WHERE import = %s ORDER BY after_row

-- name: save
INSERT INTO import_checkpoint (import, after_row, since, state, seen) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING

-- name: without_waiting
SET LOCAL synchronous_commit = off

-- name: forget
DELETE FROM import_checkpoint WHERE import = %s

-- name: forget_abandoned
DELETE FROM import_checkpoint WHERE import IN (
    SELECT import FROM import_checkpoint GROUP BY import HAVING max(saved_at) < now() - interval '30 days'
)
