-- name: followed
-- These are the destinations, and no others.
UPDATE feed SET followed = (name = ANY (%(names)s)) WHERE followed IS DISTINCT FROM (name = ANY (%(names)s))

-- name: enrol
INSERT INTO feed (name, position)
SELECT %(name)s, CASE WHEN %(now)s THEN coalesce((SELECT max(position) FROM event WHERE log = %(log)s), 0) ELSE 0 END
ON CONFLICT (name) DO NOTHING

-- name: lead
SELECT pg_try_advisory_lock(hashtextextended('hub.feed.' || %s, 0))

-- name: give_up
SELECT pg_advisory_unlock_all()

-- name: place
SELECT position, disabled FROM feed WHERE name = %s

-- name: sent
UPDATE feed SET position = %(position)s, sent = sent + %(count)s, tries = 0, failing_since = NULL, error = NULL
WHERE name = %(name)s

-- name: failed
UPDATE feed SET failures = failures + 1, tries = tries + 1, error = %(error)s, disabled = disabled OR %(gone)s,
    failing_since = coalesce(failing_since, clock_timestamp())
WHERE name = %(name)s
RETURNING tries, extract(epoch FROM clock_timestamp() - failing_since)::float8

-- name: died
WITH died AS (
    INSERT INTO feed_letter (feed, position, event, tries, error)
    SELECT name, %(position)s, %(event)s, tries, error FROM feed WHERE name = %(name)s
    ON CONFLICT DO NOTHING)
UPDATE feed SET position = %(position)s, tries = 0, failing_since = NULL, error = NULL WHERE name = %(name)s

-- name: asked
SELECT position FROM feed_letter WHERE feed = %s AND asked ORDER BY position LIMIT 1

-- name: delivered
WITH gone AS (DELETE FROM feed_letter WHERE feed = %(name)s AND position = %(position)s)
UPDATE feed SET sent = sent + 1 WHERE name = %(name)s

-- name: not_delivered
WITH again AS (
    UPDATE feed_letter SET asked = false, tries = tries + 1, error = %(error)s
    WHERE feed = %(name)s AND position = %(position)s)
UPDATE feed SET failures = failures + 1, disabled = disabled OR %(gone)s WHERE name = %(name)s

-- name: ask
UPDATE feed_letter SET asked = true WHERE feed = %(name)s AND (event = %(event)s OR %(event)s IS NULL)

-- name: discard
DELETE FROM feed_letter WHERE feed = %(name)s AND event = %(event)s

-- name: resume
UPDATE feed SET disabled = false, tries = 0, failing_since = NULL, error = NULL WHERE name = %s AND disabled

-- name: letters
SELECT event::text, position, died_at, tries, error, asked FROM feed_letter WHERE feed = %s
ORDER BY position LIMIT %s

-- name: standings
SELECT f.name, f.position, greatest(head.position - f.position, 0),
    coalesce(extract(epoch FROM clock_timestamp()) - next.recorded_at / 1e6, 0)::float8,
    f.disabled, f.sent, f.failures, f.tries, f.failing_since, f.error,
    (SELECT count(*) FROM feed_letter l WHERE l.feed = f.name)
FROM feed f
CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM event WHERE log = 1) head
LEFT JOIN event next ON next.log = 1 AND next.position = f.position + 1
WHERE f.followed ORDER BY f.name
