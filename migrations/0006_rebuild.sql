-- Where read models are folded anew beside the rows that answer, in tables of the same names, with lines of their own.
-- The tables are made from those in hub when a rebuild begins, take their place in its last transaction, and else go.
SET ROLE hub_owner;
CREATE SCHEMA hub_rebuild;
SET search_path = hub_rebuild;
GRANT USAGE ON SCHEMA hub_rebuild TO hub_writer;

CREATE TABLE read_model (LIKE hub.read_model INCLUDING ALL);
GRANT SELECT, INSERT, UPDATE, DELETE ON read_model TO hub_writer;

RESET ROLE;
