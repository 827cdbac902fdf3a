-- How far imports are that have not finished; gone when they do. Without it they begin anew, and change nothing twice.
SET ROLE hub_owner;
SET search_path = hub;

CREATE TABLE import_checkpoint (
    import    bytea       NOT NULL CHECK (octet_length(import) = 16),
    after_row bigint      NOT NULL CHECK (after_row > 0),  -- All rows up to this one are answered durably.
    since     bigint      NOT NULL CHECK (since >= 0 AND since < after_row),  -- The checkpoint before; 0: none.
    state     jsonb       NOT NULL,
    seen      bytea       NOT NULL,  -- 8 bytes for every row since, keyed: which rows were alike.
    saved_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (import, after_row)
);
ALTER TABLE import_checkpoint ALTER COLUMN seen SET STORAGE EXTERNAL;

GRANT SELECT, INSERT, DELETE ON import_checkpoint TO hub_writer;

RESET ROLE;
