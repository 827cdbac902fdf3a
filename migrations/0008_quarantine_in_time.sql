-- Since when each item waits, and who told it. The rows are folded anew.
SET ROLE hub_owner;
SET search_path = hub;

TRUNCATE quarantine;
ALTER TABLE quarantine ADD COLUMN source text COLLATE "C", ADD COLUMN set_aside_at timestamptz NOT NULL;

RESET ROLE;
