-- The append-only log, the seals beside it, and who may touch what.
--
-- Two roles without login: hub_owner owns everything, hub_writer is what the running hub is.
-- Whoever connects is granted both; migrations act as the one, the hub as the other.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub_owner') THEN
        CREATE ROLE hub_owner NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub_writer') THEN
        CREATE ROLE hub_writer NOLOGIN;
    END IF;
    IF NOT pg_has_role(current_user, 'hub_owner', 'MEMBER') THEN
        EXECUTE format('GRANT hub_owner, hub_writer TO %I', current_user);
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO hub_owner', current_database());
END
$$;

CREATE SCHEMA hub AUTHORIZATION hub_owner;
SET ROLE hub_owner;
SET search_path = hub;
GRANT USAGE ON SCHEMA hub TO hub_writer;

-- One row, made at first start. The check values let a wrong key file be refused before anything is written under it.
CREATE TABLE installation (
    single            boolean PRIMARY KEY DEFAULT true CHECK (single),
    tenant            uuid  NOT NULL,
    house             uuid  NOT NULL,          -- the record of what belongs to no customer
    receipt_check     bytea NOT NULL,
    fingerprint_check bytea NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now()
);

-- A log has a name and a row whose lock orders its writers. The row is never updated:
-- updating it would leave dead versions behind every long snapshot. The latch only makes FOR UPDATE allowed.
CREATE TABLE log (
    id    smallint PRIMARY KEY,
    name  text COLLATE "C" UNIQUE NOT NULL,
    latch boolean NOT NULL DEFAULT false
);
INSERT INTO log (id, name) VALUES (1, 'main'), (2, 'reads');

CREATE TABLE event_type (
    id   smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" UNIQUE NOT NULL
);

CREATE TABLE event (
    log         smallint NOT NULL,
    position    bigint   NOT NULL CHECK (position > 0),   -- 1, 2, 3 … in commit order
    id          uuid     NOT NULL,
    type        smallint NOT NULL,
    recorded_at bigint   NOT NULL,                         -- microseconds since 1970 UTC, never less than the predecessor's
    tags        text[] COLLATE "C" NOT NULL,               -- open tags, in the order given
    data        bytea    NOT NULL,                         -- envelope and body as hashed; opaque in foreign logs
    leaf        bytea    NOT NULL CHECK (octet_length(leaf) = 32),
    PRIMARY KEY (log, position)
);
CREATE UNIQUE INDEX event_id ON event (id);

-- Where tags are found. Open: sha256(text)[:16]. Sealed: a keyed fingerprint, deleted with the seal it came from.
CREATE TABLE tag (
    log      smallint NOT NULL,
    tag      uuid     NOT NULL,
    position bigint   NOT NULL,
    type     smallint NOT NULL,
    seal     smallint                                      -- NULL: open
);
CREATE INDEX tag_found ON tag (log, tag, position) INCLUDE (type);
CREATE INDEX tag_sealed ON tag (log, position, seal) WHERE seal IS NOT NULL;

-- Personal data: ciphertext under the key of its record. Rows may be deleted, never changed.
CREATE TABLE seal (
    log      smallint NOT NULL,
    position bigint   NOT NULL,
    seal     smallint NOT NULL,
    record   uuid     NOT NULL,
    class    smallint NOT NULL,                            -- retention class
    key      integer  NOT NULL,                            -- number of the record's key in that class
    box      bytea    NOT NULL,                            -- nonce (12) ‖ ciphertext ‖ tag (16)
    PRIMARY KEY (log, position, seal)
);
CREATE INDEX seal_record ON seal (record, class);

CREATE TABLE kek_epoch (
    epoch        integer PRIMARY KEY,
    check_value  bytea NOT NULL,
    destroyed_at bigint
);

-- A destroyed key leaves its row behind, so that nobody makes it anew by mistake.
CREATE TABLE record_key (
    record       uuid     NOT NULL,
    class        smallint NOT NULL,
    key          integer  NOT NULL DEFAULT 1,
    epoch        integer  NOT NULL,
    wrapped      bytea,
    destroyed_at bigint,
    PRIMARY KEY (record, class, key),
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

-- What a command was answered, so that asking again is answered the same. Both keys of a receipt are HMACs.
CREATE TABLE receipt (
    principal uuid   NOT NULL,
    request   bytea  NOT NULL,                             -- HMAC of the idempotency id
    body      bytea  NOT NULL,                             -- HMAC of the command
    first     bigint,                                      -- position of its first event; NULL: it wrote none
    last      bigint NOT NULL,
    answer    bytea  NOT NULL,                             -- ids and codes only
    PRIMARY KEY (principal, request)
);

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: the log is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE FUNCTION refuse_open_tag() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.seal IS NULL THEN
        RAISE EXCEPTION 'DELETE of an open tag is refused: the log is append-only'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END
$$;

-- Row triggers guard the statements that touch a row; ENABLE ALWAYS keeps them on under session_replication_role = replica.
DO $$
DECLARE guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY['event', 'receipt', 'event_type', 'installation'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse()', guarded);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', guarded);
    END LOOP;
    FOREACH guarded IN ARRAY ARRAY['event', 'receipt', 'event_type', 'installation', 'tag', 'seal', 'log', 'record_key', 'kek_epoch'] LOOP
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse()', guarded);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER no_truncate', guarded);
    END LOOP;
    FOREACH guarded IN ARRAY ARRAY['tag', 'seal'] LOOP
        EXECUTE format('CREATE TRIGGER unchanging BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION refuse()', guarded);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER unchanging', guarded);
    END LOOP;
    FOREACH guarded IN ARRAY ARRAY['log', 'record_key', 'kek_epoch'] LOOP
        EXECUTE format('CREATE TRIGGER undeletable BEFORE DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse()', guarded);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER undeletable', guarded);
    END LOOP;
END
$$;
CREATE TRIGGER open_tags_stay BEFORE DELETE ON tag FOR EACH ROW EXECUTE FUNCTION refuse_open_tag();
ALTER TABLE tag ENABLE ALWAYS TRIGGER open_tags_stay;

GRANT SELECT, INSERT ON installation, log, event_type, event, receipt, kek_epoch, record_key TO hub_writer;
GRANT SELECT, INSERT, DELETE ON tag, seal TO hub_writer;
GRANT UPDATE (latch) ON log TO hub_writer;
GRANT UPDATE (epoch, wrapped, destroyed_at) ON record_key TO hub_writer;
GRANT UPDATE (destroyed_at) ON kek_epoch TO hub_writer;

RESET ROLE;
