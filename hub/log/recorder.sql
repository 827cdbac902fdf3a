-- name: log
SELECT id FROM log WHERE name = %s

-- name: new_log
-- Under the advisory lock, so that two processes never draw the same number.
INSERT INTO log (id, name) SELECT max(id) + 1, %s FROM log ON CONFLICT (name) DO NOTHING

-- name: lock_logs
SELECT pg_advisory_xact_lock(hashtextextended('hub.log', 0))

-- name: page
-- The next events in a row.
SELECT position, type, tags, data FROM event
WHERE log = %(log)s AND position > %(after)s AND position <= %(head)s
ORDER BY position LIMIT %(page)s

-- name: matching
-- The next events that match an item: one with tags (first tag, other tags, types), or one of the types alone.
SELECT e.position, e.type, e.tags, e.data
FROM (
    SELECT found.position
    FROM unnest(%(tag)s::uuid[], %(others)s::text[], %(types)s::text[]) AS i (tag, others, types)
    CROSS JOIN LATERAL (
        SELECT DISTINCT t.position FROM tag t
        WHERE t.log = %(log)s AND t.tag = i.tag AND t.position > %(after)s AND t.position <= %(head)s
          AND (i.types IS NULL OR t.type = ANY (i.types::smallint[]))
          AND NOT EXISTS (
              SELECT FROM unnest(i.others::uuid[]) AS o (tag)
              WHERE NOT EXISTS (
                  SELECT FROM tag u WHERE u.log = t.log AND u.tag = o.tag AND u.position = t.position))
        ORDER BY t.position LIMIT %(page)s) AS found
    UNION
    (SELECT position FROM event
     WHERE log = %(log)s AND position > %(after)s AND position <= %(head)s AND type = ANY (%(alone)s::smallint[])
     ORDER BY position LIMIT %(page)s)
    ORDER BY position LIMIT %(page)s) AS p
JOIN event e ON e.log = %(log)s AND e.position = p.position
ORDER BY e.position
