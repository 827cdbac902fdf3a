"""Everything anyone may ask."""

from commands.expire_quarantined import expire_quarantined
from commands.identify_customer import identify_customer
from commands.lift_distinct import lift_distinct
from commands.merge_customers import merge_customers
from commands.quarantine_touch import quarantine_touch
from commands.record_touch import record_touch
from commands.register_source import register_source
from commands.release_identifier import release_identifier
from commands.repair_touch import repair_touch
from commands.repair_value import repair_value
from commands.retract_fact import retract_fact
from commands.unmerge_customers import unmerge_customers

CAPABILITIES = (
    register_source,
    identify_customer,
    record_touch,
    quarantine_touch,
    retract_fact,
    release_identifier,
    merge_customers,
    unmerge_customers,
    lift_distinct,
    repair_value,
    repair_touch,
    expire_quarantined,
)
