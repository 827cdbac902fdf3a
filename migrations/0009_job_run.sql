-- What is done at its time: every run of every job, and when the rows of each read model were last compared.
SET ROLE hub_owner;
SET search_path = hub;

ALTER TABLE read_model ADD COLUMN compared_at timestamptz;

CREATE TABLE job_run (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job         text COLLATE "C" NOT NULL,
    due         timestamptz NOT NULL,                      -- when it was to start
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,                               -- NULL: it runs
    outcome     text COLLATE "C" CHECK (outcome IN ('done', 'failed', 'lost')),
    counts      jsonb NOT NULL DEFAULT '{}',               -- numbers by code
    error       text COLLATE "C",                          -- what failed and where; never a value
    CHECK ((finished_at IS NULL) = (outcome IS NULL)),
    UNIQUE (job, due)
);

GRANT SELECT, INSERT, DELETE ON job_run TO hub_writer;
GRANT UPDATE (finished_at, outcome, counts, error) ON job_run TO hub_writer;

RESET ROLE;
