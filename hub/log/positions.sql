-- name: last
SELECT position FROM hub.tracking WHERE projection = %s AND application = %s

-- name: advance
-- Nothing where it has been there before: what comes twice is done once.
INSERT INTO hub.tracking AS t (projection, application, position) VALUES (%s, %s, %s)
ON CONFLICT (projection, application) DO UPDATE SET position = excluded.position
WHERE t.position < excluded.position
RETURNING position
