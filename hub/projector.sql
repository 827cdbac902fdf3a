-- name: session
-- Rows and positions are lost together in a crash, if they are, and folded again. Keys are looked up in indexes,
-- however small a table was when the statement was planned.
SELECT set_config(name, 'off', false)
FROM unnest('{synchronous_commit, enable_hashjoin, enable_mergejoin, enable_seqscan}'::text[]) AS name

-- name: enrol
INSERT INTO read_model (name, version)
SELECT %(name)s, CASE WHEN max(position) FILTER (WHERE state = 'live') > %(far)s THEN 0 ELSE %(version)s END FROM read_model
ON CONFLICT (name) DO NOTHING

-- name: versions
SELECT name, version FROM read_model

-- name: places
-- A model of another version is folded by another release.
SELECT m.name, m.position FROM read_model m
JOIN unnest(%s::text[], %s::int[]) AS ours (name, version) USING (name, version)
WHERE m.state = 'live'

-- name: advance
UPDATE read_model SET position = %s, updated_at = now() WHERE name = ANY (%s) AND state = 'live' AND position = %s
RETURNING name

-- name: fail
UPDATE read_model
SET state = 'failed', position = %s, failed_event = %s, failed_position = %s, error = %s, updated_at = now()
WHERE name = %s

-- name: reached
-- Where the healthy models are; one that is catching up is behind them.
SELECT max(position) FROM read_model WHERE state = 'live'

-- name: status
SELECT m.name, m.version, m.position, head.position - m.position,
    coalesce(greatest(0, extract(epoch FROM clock_timestamp()) - (
        SELECT e.recorded_at FROM event e WHERE e.log = %(log)s AND e.position = m.position + 1) / 1e6), 0)::float8,
    CASE WHEN m.state = 'live' AND m.position < max(m.position) FILTER (WHERE m.state = 'live') OVER () THEN 'catching_up' ELSE m.state END,
    m.failed_event::text, m.failed_position, m.error
FROM read_model m
CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM event WHERE log = %(log)s) AS head
ORDER BY m.name
