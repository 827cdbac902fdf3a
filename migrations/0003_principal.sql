-- Who may ask, and with which keys. A key is never deleted or changed, only ended; its secret is known to its holder alone.
SET ROLE hub_owner;
SET search_path = hub;

-- A channel's source or a person; whatever keys they use, they are one. Neither: the principal of a single key.
CREATE TABLE principal (
    id     uuid PRIMARY KEY,
    source text COLLATE "C" UNIQUE,
    person text COLLATE "C" UNIQUE,
    CHECK (source IS NULL OR person IS NULL)
);

CREATE TABLE api_key (
    id          text COLLATE "C" PRIMARY KEY,
    principal   uuid        NOT NULL REFERENCES principal,
    role        text COLLATE "C" NOT NULL
        CHECK (role IN ('channel', 'operator', 'analyst', 'steward', 'compliance', 'admin', 'auditor')),
    secret_hash bytea       NOT NULL CHECK (octet_length(secret_hash) = 32),
    made_at     timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    CHECK (expires_at <= made_at + interval '366 days')
);
CREATE INDEX api_key_principal ON api_key (principal);

CREATE FUNCTION refuse_other_than_ending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.id, OLD.principal, OLD.role, OLD.secret_hash, OLD.made_at)
        IS DISTINCT FROM (NEW.id, NEW.principal, NEW.role, NEW.secret_hash, NEW.made_at)
        OR NEW.expires_at > OLD.expires_at
        OR OLD.revoked_at IS DISTINCT FROM NEW.revoked_at AND OLD.revoked_at IS NOT NULL THEN
        RAISE EXCEPTION 'UPDATE of an API key is refused: a key may only be ended'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER ending_only BEFORE UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION refuse_other_than_ending();
ALTER TABLE api_key ENABLE ALWAYS TRIGGER ending_only;
CREATE TRIGGER undeletable BEFORE DELETE ON api_key FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE api_key ENABLE ALWAYS TRIGGER undeletable;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON principal FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE principal ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON api_key FOR EACH STATEMENT EXECUTE FUNCTION refuse();
ALTER TABLE api_key ENABLE ALWAYS TRIGGER no_truncate;
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON principal FOR EACH STATEMENT EXECUTE FUNCTION refuse();
ALTER TABLE principal ENABLE ALWAYS TRIGGER no_truncate;

GRANT SELECT, INSERT ON principal, api_key TO hub_writer;
GRANT UPDATE (expires_at, revoked_at) ON api_key TO hub_writer;

RESET ROLE;
