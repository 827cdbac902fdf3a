-- Since when each item waits, and who told it. The rows are folded anew.
SET ROLE hub_owner;
SET search_path = hub;

TRUNCATE quarantine;
UPDATE read_model SET position = 0 WHERE name = 'quarantine';   -- Behind the others, so that nobody is told it is empty.
ALTER TABLE quarantine ADD COLUMN source text COLLATE "C", ADD COLUMN set_aside_at timestamptz NOT NULL;

RESET ROLE;
