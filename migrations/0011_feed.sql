-- How far each destination of the feed has been sent the log, and what it would not take. No part of the log: positions
-- move, and letters go when they were sent again. Neither holds what was said, only where it stands.
SET ROLE hub_owner;
SET search_path = hub;

CREATE TABLE feed (
    name          text COLLATE "C" PRIMARY KEY,
    position      bigint  NOT NULL CHECK (position >= 0),    -- Up to here all was acknowledged, not asked for, or is a letter.
    followed      boolean NOT NULL DEFAULT true,             -- It stands among the destinations.
    disabled      boolean NOT NULL DEFAULT false,            -- It answered that it wants no more.
    sent          bigint  NOT NULL DEFAULT 0,                -- Ever acknowledged.
    failures      bigint  NOT NULL DEFAULT 0,                -- Times it would not take something.
    tries         int     NOT NULL DEFAULT 0,                -- Of the event it does not take now.
    failing_since timestamptz,
    error         text COLLATE "C",                          -- A code; never a value.
    CHECK ((tries = 0) = (failing_since IS NULL))
);

CREATE TABLE feed_letter (
    feed     text COLLATE "C" NOT NULL REFERENCES feed,
    position bigint NOT NULL,
    event    uuid   NOT NULL,
    died_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    tries    int    NOT NULL,
    error    text COLLATE "C" NOT NULL,
    asked    boolean NOT NULL DEFAULT false,                 -- It is to be sent again.
    PRIMARY KEY (feed, position)
);

GRANT SELECT, INSERT ON feed TO hub_writer;
GRANT UPDATE (position, followed, disabled, sent, failures, tries, failing_since, error) ON feed TO hub_writer;
GRANT SELECT, INSERT, DELETE ON feed_letter TO hub_writer;
GRANT UPDATE (tries, error, asked) ON feed_letter TO hub_writer;

RESET ROLE;
