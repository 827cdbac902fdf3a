-- name: scopes
-- The events each scope (numbered, tag, types, how many of the last) covers.
SELECT s.n, e.position, e.id, e.type, e.recorded_at, e.data
FROM unnest(%(n)s::int[], %(tag)s::uuid[], %(types)s::text[], %(most)s::int[]) AS s (n, tag, types, most)
CROSS JOIN LATERAL (
    SELECT t.position FROM tag t
    WHERE t.log = %(log)s AND t.tag = s.tag AND (s.types IS NULL OR t.type = ANY (s.types::smallint[]))
    ORDER BY t.position DESC LIMIT s.most) AS found
JOIN event e ON e.log = %(log)s AND e.position = found.position
ORDER BY e.position

-- name: by_id
SELECT position, id, type, recorded_at, data FROM event WHERE log = %s AND id = ANY (%s::uuid[])

-- name: sealed_tags
SELECT position, tag FROM tag WHERE log = %s AND position = ANY (%s) AND seal IS NOT NULL

-- name: seals
SELECT position, seal, record::text, class, key, box FROM seal WHERE log = %s AND position = ANY (%s)

-- name: after
SELECT position, id, type, recorded_at, data FROM event
WHERE log = %s AND position > %s ORDER BY position LIMIT %s

-- name: receipts
SELECT r.principal, r.request, r.body, r.first, r.last, r.answer
FROM unnest(%s::uuid[], %s::bytea[]) AS asked (principal, request) JOIN receipt r USING (principal, request)
