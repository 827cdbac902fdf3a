-- Read models: rows folded from the log, which may be deleted and folded again at any time.
-- They hold ids, codes, numbers, times and pointers to events and seals; never a personal value, fingerprint or ciphertext.
SET ROLE hub_owner;
SET search_path = hub;

-- How far each read model has been folded, and where one failed. Changes in the transaction that writes the rows.
CREATE TABLE read_model (
    name            text COLLATE "C" PRIMARY KEY,
    version         integer NOT NULL,                      -- of its fold; a newer one is folded from the beginning
    position        bigint  NOT NULL DEFAULT 0,            -- of the last event folded
    state           text COLLATE "C" NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'failed')),
    failed_event    uuid,
    failed_position bigint,
    error           text COLLATE "C",                      -- what failed and where; never a value
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'failed') = (failed_event IS NOT NULL AND failed_position IS NOT NULL AND error IS NOT NULL))
);

-- Which customer each record is today, and its place among the customer's records. The one model that knows about merges.
CREATE TABLE membership (
    record    uuid PRIMARY KEY,
    customer  uuid        NOT NULL,                        -- the first member; the record itself when alone
    place     integer     NOT NULL,                        -- 0, 1, 2 … in order of opening
    source    text COLLATE "C" NOT NULL,
    party     text COLLATE "C" NOT NULL,
    opened_at timestamptz NOT NULL,
    opened    bigint      NOT NULL,                        -- position of record_opened
    event     uuid        NOT NULL,                        -- what placed the record where it is
    position  bigint      NOT NULL
);
CREATE INDEX membership_customer ON membership (customer, place);
CREATE INDEX membership_opened ON membership (opened);

-- The newest statement of each source about each attribute: where its value lies. A retraction is a statement, too.
CREATE TABLE facts (
    record    uuid,
    attribute text COLLATE "C",
    event     uuid        NOT NULL,
    position  bigint      NOT NULL,
    stated_at timestamptz NOT NULL,
    clear     boolean     NOT NULL,                        -- the value stands in the event itself
    seal      smallint,                                    -- the event's seal that holds it otherwise
    retracted boolean     NOT NULL,
    PRIMARY KEY (record, attribute)
);

-- End points that lead to a record, and for how long. Values lie in seals.
CREATE TABLE identifiers (
    identifier     uuid PRIMARY KEY,
    record         uuid        NOT NULL,
    kind           text COLLATE "C" NOT NULL,
    event          uuid        NOT NULL,                   -- the newest statement that sealed the value
    position       bigint      NOT NULL,
    since          timestamptz,
    until          timestamptz,
    released_until timestamptz,                            -- released: leads to the record up to here, unless stated again later
    stated_at      timestamptz NOT NULL
);
CREATE INDEX identifiers_record ON identifiers (record);
CREATE INDEX identifiers_position ON identifiers (position);

-- Every touch in the order it happened; what was said is read from the log.
CREATE TABLE timeline (
    event       uuid PRIMARY KEY,
    record      uuid        NOT NULL,
    position    bigint      NOT NULL,
    occurred_at timestamptz NOT NULL,
    channel     text COLLATE "C" NOT NULL,
    direction   text COLLATE "C" NOT NULL,
    kind        text COLLATE "C",
    purpose     text COLLATE "C",
    topic       text COLLATE "C",
    campaign    text COLLATE "C"
);
CREATE INDEX timeline_newest ON timeline (record, occurred_at DESC, position DESC);

-- Contacts as contact policies see them: one row each, whatever reported it.
CREATE TABLE contacts (
    contact       uuid PRIMARY KEY,
    record        uuid        NOT NULL,
    identifier    uuid,
    channel       text COLLATE "C" NOT NULL,
    purpose       text COLLATE "C",
    campaign      text COLLATE "C",
    offer         text COLLATE "C",
    sender        uuid,
    matter        uuid,
    at            timestamptz NOT NULL,
    state         text COLLATE "C" NOT NULL,
    outcome       text COLLATE "C",
    event         uuid        NOT NULL,                    -- the first about it
    position      bigint      NOT NULL,
    last_event    uuid        NOT NULL,
    last_position bigint      NOT NULL
);
CREATE INDEX contacts_record ON contacts (record, at DESC);

-- Touches of a record by UTC day, channel and direction.
CREATE TABLE daily_counters (
    record    uuid,
    day       date,
    channel   text COLLATE "C",
    direction text COLLATE "C",
    count     integer     NOT NULL,
    first     timestamptz NOT NULL,
    last      timestamptz NOT NULL,
    PRIMARY KEY (record, day, channel, direction)
);

-- Who may tell us about customers, and how far each is trusted.
CREATE TABLE sources (
    source   text COLLATE "C" PRIMARY KEY,
    trust    double precision NOT NULL,
    logins   text[] COLLATE "C" NOT NULL,                  -- identifier kinds that lead to one customer within the source
    party    text COLLATE "C" NOT NULL,
    event    uuid     NOT NULL,
    position bigint   NOT NULL,
    seal     smallint                                      -- of its title
);

-- What could not be accepted and waits for repair. The value lies in a seal of the event.
CREATE TABLE quarantine (
    item     uuid PRIMARY KEY,
    record   uuid,                                         -- NULL: the touch's record could not be named
    event    uuid        NOT NULL,
    position bigint      NOT NULL,
    path     text COLLATE "C" NOT NULL,
    reason   text COLLATE "C" NOT NULL,
    at       timestamptz NOT NULL
);
CREATE INDEX quarantine_newest ON quarantine (position DESC, item);

GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON
    read_model, membership, facts, identifiers, timeline, contacts, daily_counters, sources, quarantine TO hub_writer;

RESET ROLE;
