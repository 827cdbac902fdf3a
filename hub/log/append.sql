-- name: lock
SELECT 1 FROM log WHERE id = %s FOR UPDATE

-- name: head
SELECT position, recorded_at FROM event WHERE log = %s ORDER BY position DESC LIMIT 1

-- name: new_open
SELECT position, type, tags FROM event WHERE log = %s AND position > %s ORDER BY position

-- name: new_sealed
SELECT position, uuid_send(tag) FROM tag WHERE log = %s AND position > %s AND seal IS NOT NULL

-- name: matched
-- Which of the items (first tag, other tags, types; counted from 1) match an event after a position.
SELECT i.n
FROM unnest(%(tag)s::uuid[], %(others)s::text[], %(types)s::text[], %(after)s::bigint[])
    WITH ORDINALITY AS i (tag, others, types, after, n)
WHERE EXISTS (
    SELECT FROM tag t
    WHERE t.log = %(log)s AND t.tag = i.tag AND t.position > i.after
      AND (i.types IS NULL OR t.type = ANY (i.types::smallint[]))
      AND NOT EXISTS (
          SELECT FROM unnest(i.others::uuid[]) AS o (tag)
          WHERE NOT EXISTS (SELECT FROM tag u WHERE u.log = t.log AND u.tag = o.tag AND u.position = t.position))
      AND NOT EXISTS (
          SELECT FROM unnest(%(from)s::bigint[], %(to)s::bigint[]) AS own (first, stop)
          WHERE t.position >= own.first AND t.position < own.stop))

-- name: matched_untagged
SELECT EXISTS (
    SELECT FROM event WHERE log = %s AND position > %s AND (%s::smallint[] IS NULL OR type = ANY (%s::smallint[]))
      AND NOT EXISTS (
          SELECT FROM unnest(%s::bigint[], %s::bigint[]) AS own (first, stop)
          WHERE position >= own.first AND position < own.stop))

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
