-- name: logs
SELECT id, name FROM log ORDER BY id

-- name: types
SELECT id, name FROM event_type

-- name: events
SELECT position, uuid_send(id), type, recorded_at, tags, data, leaf FROM event
WHERE log = %s AND position > %s ORDER BY position LIMIT %s

-- name: before
SELECT recorded_at FROM event WHERE log = %s AND position = %s

-- name: seals
-- The digests of the boxes (see hub/vault.py, seal_digest); the boxes themselves may be too many to hold.
SELECT position, seal, record::text, class, encode(sha256('hub/seal/1'::bytea || box), 'hex')
FROM seal WHERE log = %s AND position > %s AND position <= %s

-- name: sealed_tags
SELECT position, seal FROM tag WHERE log = %s AND position > %s AND position <= %s AND seal IS NOT NULL

-- name: erased
-- Of which records and classes a key was destroyed.
SELECT DISTINCT k.record::text, k.class FROM record_key k
JOIN unnest(%s::uuid[], %s::smallint[]) AS asked (record, class) USING (record, class)
WHERE k.destroyed_at IS NOT NULL

-- name: let_go
-- The events that ended what was set aside and has these tags; they name the seals they deleted.
SELECT e.data FROM tag t JOIN event_type y ON y.id = t.type JOIN event e ON (e.log, e.position) = (t.log, t.position)
WHERE t.log = %s AND t.tag = ANY (%s::uuid[]) AND t.seal IS NULL AND y.name IN ('quarantine_expired', 'touch_repaired')

-- name: keys
-- All of the last record's are taken along.
SELECT k.record::text, class, key, epoch, wrapped FROM record_key k
WHERE k.record > %s AND wrapped IS NOT NULL ORDER BY k.record FETCH FIRST %s ROWS WITH TIES

-- name: blocks
SELECT pg_relation_size('tag') / current_setting('block_size')::int

-- name: index
-- Tags as they lie in the table: no index has them by position, and a fresh table is nearly in that order.
SELECT log, position, uuid_send(tag), type, seal FROM tag WHERE ctid >= %s::tid AND ctid < %s::tid

-- name: tagged
SELECT position, type, tags FROM event WHERE log = %s AND position = ANY (%s)

-- name: found
-- How often each of these open tags stands in the index.
SELECT asked.position, (
    SELECT count(*) FROM tag t
    WHERE t.log = %s AND t.tag = asked.tag AND t.position = asked.position AND t.seal IS NULL)
FROM unnest(%s::bigint[], %s::uuid[]) WITH ORDINALITY AS asked (position, tag, n) ORDER BY n
