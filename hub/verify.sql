-- name: order
-- Those that were compared longest ago come first.
SELECT name, unequal FROM read_model WHERE name = ANY (%s) ORDER BY compared_at NULLS FIRST, name

-- name: snapshot
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
LOCK TABLE hub.read_model IN ACCESS SHARE MODE

-- name: live
SELECT position, version, state = 'failed' FROM hub.read_model WHERE name = %s

-- name: plan
-- All rows are read, so the planner may choose.
SELECT set_config(name, 'on', true) FROM unnest('{enable_hashjoin, enable_mergejoin, enable_seqscan}'::text[]) AS name

-- name: compare
SELECT ARRAY[{keys}], live.{first} IS NULL, folded.{first} IS NULL, array_remove(ARRAY[{differing}]::text[], NULL)
FROM hub.{table} live FULL JOIN hub_rebuild.{table} folded USING ({key})
WHERE live.{first} IS NULL OR folded.{first} IS NULL OR ({ours}) IS DISTINCT FROM ({theirs})
ORDER BY {key} LIMIT {most}

-- name: compared
UPDATE hub.read_model SET compared_at = now(), unequal = %s WHERE name = %s
