-- What the append-only tables are is written down, compared after every DDL statement, and a difference is refused.
--
-- Two roles more: hub_reader may only SELECT and is what questions are asked as; hub_migrator may act as hub_owner and
-- open a pass, within which a migration changes guarded tables. The guards lie in a schema of their own, out of
-- hub_owner's reach. Event triggers need a superuser; where whoever migrates is none, they are left out and health says so.
DO $$
DECLARE
    settable text := CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END;
    needed   text;
BEGIN
    FOREACH needed IN ARRAY ARRAY['hub_reader', 'hub_migrator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = needed) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', needed);
        END IF;
        IF NOT pg_has_role(current_user, needed, settable) THEN
            EXECUTE format('GRANT %I TO %I', needed, current_user);
        END IF;
    END LOOP;
    IF NOT pg_has_role('hub_migrator', 'hub_owner', settable) THEN
        GRANT hub_owner TO hub_migrator;
    END IF;
    -- So that hub_migrator may write down which migrations it applied.
    IF (SELECT pg_has_role(current_user, relowner, 'MEMBER') FROM pg_class WHERE oid = 'public.migration'::regclass) THEN
        GRANT INSERT ON public.migration TO hub_migrator;
    END IF;
END
$$;

CREATE SCHEMA hub_guard;
GRANT USAGE ON SCHEMA hub_guard TO PUBLIC;

-- How each guarded table was when the last pass ended, aspect by aspect. By OID, which a rename does not change.
CREATE TABLE hub_guard.guarded (
    relation regclass,
    aspect   text COLLATE "C",
    state    text COLLATE "C" NOT NULL,
    PRIMARY KEY (relation, aspect)
);

-- Every pass there ever was. One that is neither a migration nor anybody's known repair is a tell-tale.
CREATE TABLE hub_guard.pass (
    transaction xid8        NOT NULL,
    at          timestamptz NOT NULL,
    who         text COLLATE "C" NOT NULL,
    what        text COLLATE "C" NOT NULL,
    ended       boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (at, transaction)
);
GRANT SELECT ON hub_guard.guarded, hub_guard.pass TO PUBLIC;

-- Everything about a table that decides whether what was appended stays; whatever its owner may do anyway is left out.
CREATE FUNCTION hub_guard.aspects(guarded regclass[]) RETURNS TABLE (relation regclass, aspect text, state text)
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT c.oid, 'table', format('%s.%s kind %s persistence %s row security %s forced %s',
        n.nspname, c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (guarded)
UNION ALL
    SELECT c.oid, 'owner', format('%s, of the schema %s', c.relowner::regrole, n.nspowner::regrole)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (guarded)
UNION ALL
    SELECT each.oid, each.aspect, string_agg(
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || ': ' || a.privilege_type
            || CASE WHEN a.is_grantable THEN ' grantable' ELSE '' END, ', '
        ORDER BY CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END COLLATE "C", a.privilege_type COLLATE "C")
    FROM (
            SELECT c.oid, 'grants' AS aspect, c.relacl AS acl, c.relowner AS owner FROM pg_class c WHERE c.oid = ANY (guarded)
        UNION ALL
            SELECT c.oid, 'grants on the schema', n.nspacl, n.nspowner
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY (guarded)
        UNION ALL
            SELECT c.oid, 'grants on column ' || t.attname, t.attacl, c.relowner
            FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid WHERE c.oid = ANY (guarded)
    ) AS each, aclexplode(each.acl) AS a
    WHERE a.grantee <> each.owner
    GROUP BY each.oid, each.aspect
UNION ALL
    SELECT t.attrelid, 'column ' || t.attname, concat_ws(' ', format_type(t.atttypid, t.atttypmod),
        CASE WHEN t.attnotnull THEN 'NOT NULL' END, 'identity ' || nullif(t.attidentity::text, ''),
        'generated ' || nullif(t.attgenerated::text, ''), pg_get_expr(d.adbin, d.adrelid),
        'collation ' || nullif(t.attcollation, 0)::regcollation::text)
    FROM pg_attribute t LEFT JOIN pg_attrdef d ON d.adrelid = t.attrelid AND d.adnum = t.attnum
    WHERE t.attrelid = ANY (guarded) AND t.attnum > 0 AND NOT t.attisdropped
UNION ALL
    SELECT conrelid, 'constraint ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = ANY (guarded) AND contype NOT IN ('n', 't')
UNION ALL
    SELECT i.indrelid, 'unique index ' || c.relname, format('%s valid %s', pg_get_indexdef(c.oid), i.indisvalid)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = ANY (guarded) AND i.indisunique
UNION ALL
    SELECT t.tgrelid, 'trigger ' || t.tgname, format('enabled %s, %s, %s of %s, configured %s',
        t.tgenabled, pg_get_triggerdef(t.oid), sha256(convert_to(p.prosrc, 'UTF8')), p.proowner::regrole, p.proconfig)
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = ANY (guarded) AND NOT t.tgisinternal
UNION ALL
    SELECT ev_class, 'rule ' || rulename, format('enabled %s, %s', ev_enabled, pg_get_ruledef(oid))
    FROM pg_rewrite WHERE ev_class = ANY (guarded)
UNION ALL
    SELECT polrelid, 'policy ' || polname, format('%s %s', polcmd, pg_get_expr(polqual, polrelid))
    FROM pg_policy WHERE polrelid = ANY (guarded)
UNION ALL
    SELECT inhparent, 'heir ' || inhrelid::regclass::text, '' FROM pg_inherits WHERE inhparent = ANY (guarded)
UNION ALL
    -- With the list itself: the guards, and what the hub's roles are allowed in the whole cluster.
    SELECT list.oid, of_all.aspect, of_all.state
    FROM (SELECT 'hub_guard.guarded'::regclass AS oid) AS list, (
            SELECT 'function ' || proname AS aspect, format('%s of %s, configured %s, definer %s, may be called by %s',
                sha256(convert_to(prosrc, 'UTF8')), proowner::regrole, proconfig, prosecdef, proacl) AS state
            FROM pg_proc WHERE pronamespace = 'hub_guard'::regnamespace
        UNION ALL
            SELECT 'view ' || relname, sha256(convert_to(pg_get_viewdef(oid), 'UTF8'))::text
            FROM pg_class WHERE relnamespace = 'hub_guard'::regnamespace AND relkind = 'v'
        UNION ALL
            SELECT 'event trigger ' || evtname, format('enabled %s, %s, %s', evtenabled, evtevent, evtfoid::regproc)
            FROM pg_event_trigger WHERE evtname LIKE 'hub\_%'
        UNION ALL
            SELECT 'role ' || r.rolname, concat_ws(', ', CASE WHEN r.rolsuper THEN 'superuser' END,
                CASE WHEN r.rolbypassrls THEN 'bypasses row security' END, CASE WHEN r.rolcreaterole THEN 'makes roles' END,
                CASE WHEN r.rolcanlogin THEN 'logs in' END, (
                    SELECT string_agg(DISTINCT m.roleid::regrole::text, ', ') FROM pg_auth_members m WHERE m.member = r.oid))
            FROM pg_roles r WHERE r.rolname IN ('hub_owner', 'hub_migrator', 'hub_writer', 'hub_reader')
    ) AS of_all
    WHERE list.oid = ANY (guarded)
$$;

-- Where the tables are not what they were.
CREATE VIEW hub_guard.breach AS
SELECT relation, aspect, recorded.state AS recorded, found.state AS found
FROM hub_guard.guarded AS recorded
FULL JOIN (
    SELECT * FROM hub_guard.aspects(ARRAY(SELECT DISTINCT relation FROM hub_guard.guarded))
) AS found USING (relation, aspect)
WHERE recorded.state IS DISTINCT FROM found.state;
GRANT SELECT ON hub_guard.breach TO PUBLIC;

CREATE FUNCTION hub_guard.passing() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT EXISTS (
        SELECT FROM hub_guard.pass WHERE transaction = pg_current_xact_id_if_assigned() AND at = now() AND NOT ended)
$$;

-- For the rest of this transaction, or until the pass is closed, guarded tables may be altered.
CREATE FUNCTION hub_guard.open(what text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    INSERT INTO hub_guard.pass (transaction, at, who, what) VALUES (pg_current_xact_id(), now(), session_user, what)
$$;

-- What the tables are now is what they have to be. Guarded is every table of ours with a trigger that is always on.
CREATE FUNCTION hub_guard.close() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF NOT hub_guard.passing() THEN
        RAISE EXCEPTION 'No pass is open in this transaction.' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    DELETE FROM hub_guard.guarded;
    INSERT INTO hub_guard.guarded
    SELECT * FROM hub_guard.aspects(ARRAY(
        SELECT DISTINCT c.oid::regclass FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid
        WHERE c.relnamespace IN ('hub'::regnamespace, 'hub_guard'::regnamespace) AND t.tgenabled = 'A' AND NOT t.tgisinternal));
    UPDATE hub_guard.pass SET ended = true WHERE transaction = pg_current_xact_id() AND at = now();
END
$$;
REVOKE EXECUTE ON FUNCTION hub_guard.open(text), hub_guard.close() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hub_guard.open(text), hub_guard.close() TO hub_migrator;

CREATE FUNCTION hub_guard.refuse_without_pass() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF NOT hub_guard.passing() THEN
        RAISE EXCEPTION '% of %.% is refused: it belongs to the guards', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION hub_guard.refuse_other_than_ending() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR NOT NEW.ended OR to_jsonb(NEW) - 'ended' <> to_jsonb(OLD) - 'ended' THEN
        RAISE EXCEPTION '% of a pass is refused: it belongs to the guards', TG_OP USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER within_a_pass BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON hub_guard.guarded
    FOR EACH STATEMENT EXECUTE FUNCTION hub_guard.refuse_without_pass();
ALTER TABLE hub_guard.guarded ENABLE ALWAYS TRIGGER within_a_pass;
CREATE TRIGGER ending_only BEFORE UPDATE OR DELETE ON hub_guard.pass
    FOR EACH ROW EXECUTE FUNCTION hub_guard.refuse_other_than_ending();
ALTER TABLE hub_guard.pass ENABLE ALWAYS TRIGGER ending_only;
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON hub_guard.pass
    FOR EACH STATEMENT EXECUTE FUNCTION hub_guard.refuse_other_than_ending();
ALTER TABLE hub_guard.pass ENABLE ALWAYS TRIGGER no_truncate;

-- The state after the statement tells most of what is wrong; not that rows were written anew, or a column taken out and
-- another put in its place: those have events of their own.
CREATE FUNCTION hub_guard.refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    touched text;
BEGIN
    -- Asked here and not of passing(), which might be what was just replaced.
    IF EXISTS (SELECT FROM hub_guard.pass WHERE transaction = pg_current_xact_id_if_assigned() AND at = now() AND NOT ended) THEN
        RETURN;
    END IF;
    CASE TG_EVENT
        WHEN 'table_rewrite' THEN
            SELECT relation::text INTO touched FROM hub_guard.guarded
            WHERE relation = pg_event_trigger_table_rewrite_oid() LIMIT 1;
        WHEN 'sql_drop' THEN
            SELECT object_identity INTO touched FROM pg_event_trigger_dropped_objects()
            WHERE classid = 'pg_class'::regclass AND objid IN (SELECT relation FROM hub_guard.guarded) LIMIT 1;
        ELSE
            SELECT object_identity INTO touched FROM pg_event_trigger_ddl_commands()
            WHERE classid = 'pg_class'::regclass AND objid IN (SELECT relation FROM hub_guard.guarded)
                AND command_tag LIKE 'ALTER%' LIMIT 1;
            IF touched IS NULL THEN
                -- What a role may is changed by no DDL that an event trigger sees, so nobody is refused for it; health says it.
                SELECT format('%s (%s)', relation, aspect) INTO touched FROM hub_guard.breach
                WHERE aspect NOT LIKE 'role %' ORDER BY relation, aspect LIMIT 1;
            END IF;
    END CASE;
    IF touched IS NOT NULL THEN
        RAISE EXCEPTION '% is refused: % is guarded', TG_TAG, touched USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

DO $$
DECLARE
    event text;
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOREACH event IN ARRAY ARRAY['ddl_command_end', 'sql_drop', 'table_rewrite'] LOOP
            EXECUTE format('CREATE EVENT TRIGGER %I ON %I EXECUTE FUNCTION hub_guard.refuse_ddl()', 'hub_' || event, event);
            EXECUTE format('ALTER EVENT TRIGGER %I ENABLE ALWAYS', 'hub_' || event);
        END LOOP;
    END IF;
END
$$;

SET ROLE hub_owner;
SET search_path = hub;

-- The row that orders writers is locked, never updated; that its latch may be updated is what allows the lock.
CREATE TRIGGER unchanging BEFORE UPDATE ON log FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE log ENABLE ALWAYS TRIGGER unchanging;

-- What makes a key or an answer is none of a reader's business. Tables made from now on can be read as they are made.
GRANT USAGE ON SCHEMA hub TO hub_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA hub TO hub_reader;
REVOKE SELECT ON receipt, principal, api_key, installation, kek_epoch FROM hub_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA hub GRANT SELECT ON TABLES TO hub_reader;
GRANT USAGE ON SCHEMA hub_rebuild TO hub_reader;
GRANT SELECT ON hub_rebuild.read_model TO hub_reader;

RESET ROLE;

SELECT hub_guard.open('0007_guards.sql');   -- Closed by whoever applies this, as every later pass.
