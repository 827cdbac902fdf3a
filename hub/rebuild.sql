-- name: alone
SELECT pg_try_advisory_lock(hashtextextended('hub.rebuild.' || %s, 0))

-- name: not_alone
SELECT pg_advisory_unlock(hashtextextended('hub.rebuild.' || %s, 0))

-- name: resumable
-- Rows that were kept are of use while neither the fold nor the table has changed.
WITH columns AS (
    SELECT relnamespace::regnamespace::text AS place, array_agg(attname::text || ' ' || atttypid ORDER BY attname) AS found
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE relname = %(name)s AND relnamespace = ANY ('{hub, hub_rebuild}'::regnamespace[])
    GROUP BY relnamespace)
SELECT EXISTS (
    SELECT FROM hub_rebuild.read_model JOIN columns live ON live.place = 'hub'
    JOIN columns kept ON kept.place = 'hub_rebuild' AND kept.found = live.found
    WHERE name = %(name)s AND version = %(version)s AND state = 'live')

-- name: leftovers
SELECT coalesce(l.name, t.tablename) FROM hub_rebuild.read_model l
FULL JOIN (SELECT * FROM pg_tables WHERE schemaname = 'hub_rebuild' AND tablename <> 'read_model') t ON t.tablename = l.name
WHERE l.name IS NULL OR t.tablename IS NULL OR l.updated_at < now() - make_interval(days => %s)

-- name: beside
-- Tables and lines of the rows beside are found first, the log behind them.
SET search_path = hub_rebuild, hub

-- name: as_owner
SET LOCAL ROLE hub_owner;
SET LOCAL search_path = pg_catalog

-- name: make
CREATE TABLE hub_rebuild.{table} (LIKE hub.{table} INCLUDING ALL EXCLUDING INDEXES)

-- name: alike
-- What LIKE leaves out, as statements: storage options, a comment, constraints and indexes by their names, privileges.
WITH live AS (SELECT oid, relname, reloptions, relacl FROM pg_class WHERE oid = to_regclass('hub.' || quote_ident(%s)))
SELECT format('ALTER TABLE hub_rebuild.%%I SET (%%s)', relname, array_to_string(reloptions, ', '))
FROM live WHERE reloptions IS NOT NULL
UNION ALL
SELECT format('COMMENT ON TABLE hub_rebuild.%%I IS %%L', relname, obj_description(oid, 'pg_class')) FROM live
UNION ALL
SELECT CASE WHEN c.oid IS NULL
    THEN replace(pg_get_indexdef(indexrelid), format(' ON hub.%%I ', relname), format(' ON hub_rebuild.%%I ', relname))
    ELSE format('ALTER TABLE hub_rebuild.%%I ADD CONSTRAINT %%I %%s', relname, conname, pg_get_constraintdef(c.oid)) END
FROM live JOIN pg_index i ON i.indrelid = live.oid
LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = live.oid
UNION ALL
SELECT format('GRANT %%s ON hub_rebuild.%%I TO %%s', privilege_type, relname,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
FROM live CROSS JOIN aclexplode(relacl)
UNION ALL
SELECT format('GRANT %%s (%%I) ON hub_rebuild.%%I TO %%s', privilege_type, attname, relname,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
FROM live JOIN pg_attribute ON attrelid = live.oid CROSS JOIN aclexplode(attacl)

-- name: end
-- Rows beside go as far as the live ones of the others; as far as the log where there are none.
SELECT coalesce(
    nullif((SELECT max(position) FROM hub.read_model WHERE state = 'live'), 0),
    (SELECT max(position) FROM event WHERE log = %s),
    0)

-- name: place
SELECT position, state = 'failed' FROM hub_rebuild.read_model WHERE name = %s

-- name: version
SELECT coalesce(max(version), 0) FROM hub.read_model WHERE name = %s

-- name: analyse
ANALYZE hub_rebuild.{table}

-- name: hold
-- Whoever folds or asks locks this table first; so nobody is within a transaction that has seen the rows of before.
-- They queue behind who waits for it: so the wait is short.
SET LOCAL lock_timeout = '50ms';
LOCK TABLE hub.read_model IN ACCESS EXCLUSIVE MODE

-- name: put
DROP TABLE hub.{table};
ALTER TABLE hub_rebuild.{table} SET SCHEMA hub

-- name: settle
INSERT INTO hub.read_model (name, version, position) VALUES (%(name)s, %(version)s, %(position)s)
ON CONFLICT (name) DO UPDATE SET
    version = excluded.version, position = excluded.position, state = 'live',
    failed_event = NULL, failed_position = NULL, error = NULL, unequal = false, updated_at = now()

-- name: fail
-- Live rows of the same fold stay live: it is the fold of today that fails, not theirs.
UPDATE hub.read_model live
SET state = 'failed', failed_event = beside.failed_event, failed_position = beside.failed_position, error = beside.error,
    updated_at = now()
FROM hub_rebuild.read_model beside
WHERE live.name = %(name)s AND beside.name = live.name AND NOT (live.state = 'live' AND live.version = %(version)s)

-- name: forget
DELETE FROM hub_rebuild.read_model WHERE name = %s

-- name: drop
DROP TABLE IF EXISTS hub_rebuild.{table}
