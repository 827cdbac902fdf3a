"""Attributes: what facts are about, which of them stand in clear, and for how long a statement counts as fresh."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hub.identity.normalise import is_kind

ATTRIBUTES = frozenset(
    (
        "name",
        "first_name",
        "last_name",
        "patronymic",
        "birth_date",
        "gender",
        "phone",
        "email",
        "address",
        "city",
        "country",
        "language",
        "time_zone",
        "company",
        "job_title",
        "organisation_name",
    )
)
CLEAR = frozenset({"city", "country", "language", "time_zone", "party"})

# Days. After these the same value said again is news; what is not listed does not age.
CONFIRM_AFTER: Mapping[str, int] = MappingProxyType(
    {"address": 365, "city": 365, "phone": 365, "email": 365, "company": 365, "job_title": 365}
)


def is_attribute(name: str) -> bool:
    return name in ATTRIBUTES or (name.startswith("x-") and is_kind(name))


def fits_clear(value: str) -> bool:
    """A city or a language, as far as can be told; what looks like more is sealed after all."""
    return len(value) <= 60 and "@" not in value and sum(each.isdigit() for each in value) < 5
