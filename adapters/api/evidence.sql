-- name: of_log
SELECT e.position, uuid_send(e.id), y.name, e.recorded_at, e.tags, e.data, e.leaf
FROM event e JOIN event_type y ON y.id = e.type
WHERE e.log = %(log)s AND e.position > %(after)s AND e.position <= %(until)s
    AND (%(type)s::text IS NULL OR e.type = (SELECT id FROM event_type WHERE name = %(type)s))
ORDER BY e.position LIMIT %(limit)s

-- name: of_record
SELECT e.position, uuid_send(e.id), y.name, e.recorded_at, e.tags, e.data, e.leaf
FROM (
    SELECT DISTINCT t.position FROM tag t
    WHERE t.log = %(log)s AND t.tag = %(tag)s::uuid AND t.position > %(after)s
        AND (%(type)s::text IS NULL OR t.type = (SELECT id FROM event_type WHERE name = %(type)s))
    ORDER BY t.position LIMIT %(limit)s
) AS found JOIN event e ON e.log = %(log)s AND e.position = found.position JOIN event_type y ON y.id = e.type
ORDER BY e.position

-- name: head
SELECT coalesce(max(position), 0) FROM event WHERE log = %(log)s

-- name: seals
SELECT position, seal, record::text, class, key, box FROM seal WHERE log = %s AND position = ANY (%s)
