"""Read models: one module each, with its row, its owners, its fold and its questions."""

from collections.abc import Sequence
from typing import Any

from hub.rows import ReadModel
from projections.contacts import contacts
from projections.daily_counters import daily_counters
from projections.facts import facts
from projections.identifiers import identifiers
from projections.membership import membership
from projections.quarantine import quarantine
from projections.sources import sources
from projections.timeline import timeline

READ_MODELS: Sequence[ReadModel[Any]] = (
    membership,
    facts,
    identifiers,
    timeline,
    contacts,
    daily_counters,
    sources,
    quarantine,
)
