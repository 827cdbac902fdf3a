-- name: lock
SELECT 1 FROM log WHERE id = %s FOR UPDATE

-- name: head
SELECT position, recorded_at FROM event WHERE log = %s ORDER BY position DESC LIMIT 1

-- name: new_open
SELECT position, type, tags FROM event WHERE log = %s AND position > %s ORDER BY position

-- name: new_sealed
SELECT position, uuid_send(tag) FROM tag WHERE log = %s AND position > %s AND seal IS NOT NULL

-- name: stored
-- Which of these events are in the log: asked when a connection was lost at COMMIT.
SELECT uuid_send(id), position FROM event WHERE id = ANY (%s::uuid[])

-- name: types
SELECT id, name FROM event_type

-- name: new_type
INSERT INTO event_type (name) VALUES (%s) ON CONFLICT (name) DO NOTHING

-- name: unseal
WITH gone AS (
    SELECT e.log, e.position, g.seal
    FROM unnest(%s::uuid[], %s::smallint[]) AS g (id, seal) JOIN event e USING (id)),
untagged AS (
    DELETE FROM tag t USING gone g WHERE t.log = g.log AND t.position = g.position AND t.seal = g.seal)
DELETE FROM seal s USING gone g WHERE s.log = g.log AND s.position = g.position AND s.seal = g.seal
