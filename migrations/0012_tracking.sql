-- How far the projections of applications of the eventsourcing library have come, each in an application's log.
SET ROLE hub_owner;
SET search_path = hub;

CREATE TABLE tracking (
    projection  text COLLATE "C",
    application text COLLATE "C",
    position    bigint NOT NULL,
    PRIMARY KEY (projection, application)
);

GRANT SELECT, INSERT ON tracking TO hub_writer;
GRANT UPDATE (position) ON tracking TO hub_writer;

RESET ROLE;
