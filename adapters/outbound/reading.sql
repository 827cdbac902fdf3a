-- name: page
SELECT position, uuid_send(id), type, recorded_at, data FROM event
WHERE log = %(log)s AND position > %(after)s AND position <= %(until)s
    AND (%(types)s::smallint[] IS NULL OR type = ANY (%(types)s))
ORDER BY position LIMIT %(limit)s

-- name: at
SELECT position, uuid_send(id), type, recorded_at, data FROM event WHERE log = %s AND position = %s
