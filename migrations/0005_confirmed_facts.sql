-- When a source last said again what it had said; how long a value is fresh counts from there.
SET ROLE hub_owner;
SET search_path = hub;

ALTER TABLE facts ADD COLUMN confirmed_at timestamptz;

RESET ROLE;
