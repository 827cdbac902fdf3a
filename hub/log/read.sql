-- name: scopes
-- The events with any of these tags (numbered from 1) and one of these types, of each tag the last so many.
SELECT s.n, e.position, uuid_send(e.id), e.type, e.recorded_at, e.data
FROM unnest(%(tags)s::uuid[]) WITH ORDINALITY AS s (tag, n)
CROSS JOIN LATERAL (
    SELECT t.position FROM tag t
    WHERE t.log = %(log)s AND t.tag = s.tag AND (%(types)s::smallint[] IS NULL OR t.type = ANY (%(types)s))
    ORDER BY t.position DESC LIMIT %(most)s) AS found
JOIN event e ON e.log = %(log)s AND e.position = found.position
ORDER BY e.position

-- name: firsts
-- The first event with each of these tags and one of these types.
SELECT s.n, e.position, uuid_send(e.id), e.type, e.recorded_at, e.data
FROM unnest(%(tags)s::uuid[]) WITH ORDINALITY AS s (tag, n)
CROSS JOIN LATERAL (
    SELECT t.position FROM tag t
    WHERE t.log = %(log)s AND t.tag = s.tag AND (%(types)s::smallint[] IS NULL OR t.type = ANY (%(types)s))
    ORDER BY t.position LIMIT %(most)s) AS found
JOIN event e ON e.log = %(log)s AND e.position = found.position
ORDER BY e.position

-- name: by_id
SELECT position, uuid_send(id), type, recorded_at, data FROM event WHERE log = %s AND id = ANY (%s::uuid[])

-- name: sealed_tags
SELECT position, uuid_send(tag), seal FROM tag WHERE log = %s AND position = ANY (%s) AND seal IS NOT NULL

-- name: seals
SELECT position, seal, record::text, class, key, box FROM seal WHERE log = %s AND position = ANY (%s)

-- name: after
SELECT position, uuid_send(id), type, recorded_at, data FROM event
WHERE log = %s AND position > %s ORDER BY position LIMIT %s

-- name: receipts
SELECT r.principal::text, r.request, r.body, r.first, r.last, r.answer
FROM unnest(%s::uuid[], %s::bytea[]) AS asked (principal, request) JOIN receipt r USING (principal, request)

-- name: changed
-- The tags of such events between two positions.
SELECT tags FROM event WHERE log = %s AND position > %s AND position <= %s AND type = ANY (%s::smallint[])
