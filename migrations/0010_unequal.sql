-- A read model that was not equal when it was last compared stays so until it is compared equal, or folded anew.
SET ROLE hub_owner;
SET search_path = hub;

ALTER TABLE read_model ADD COLUMN unequal boolean NOT NULL DEFAULT false;

RESET ROLE;
