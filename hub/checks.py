"""What a source tells, checked: the shapes of facts and identifiers, and which values can be what they claim.

Of the wrong shape it is refused. A value that fails its kind's check is set aside, so that the rest is not lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from hub.attributes import CLEAR, fits_clear, is_attribute
from hub.clock import moment
from hub.decider import Known
from hub.fields import KindName, Time
from hub.identity.normalise import Unfit, birth_date, identifier


class Stated(BaseModel):
    """An identifier's value that holds for a time only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    value: Annotated[str, StringConstraints(max_length=1000)]
    since: Time | None = None
    until: Time | None = None


def _fit(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises pydantic's error with every unknown name, and every value of the wrong type."""
    flaws = [
        InitErrorDetails(type=_WRONG_TYPE if is_attribute(name) else _UNKNOWN, loc=(name,), input=None)
        for name, value in facts.items()
        if not (is_attribute(name) and (value is None or is_value(value, name)))
    ]
    if flaws:
        raise ValidationError.from_exception_data("facts", flaws)
    return facts


_UNKNOWN = PydanticCustomError("value_error", "unknown_attribute")
_WRONG_TYPE = PydanticCustomError("value_error", "wrong_type")

IdentifierValue = Annotated[str, StringConstraints(max_length=1000)] | list[str | Stated] | Stated
Identifiers = Mapping[KindName, IdentifierValue]
Facts = Annotated[Mapping[str, Any], AfterValidator(_fit)]


@dataclass(slots=True)
class Checked:
    """Statements after their checks: what can be said, and what is set aside."""

    sealed: dict[str, Any] = field(default_factory=dict)
    clear: dict[str, Any] = field(default_factory=dict)
    retracted: list[str] = field(default_factory=list)
    identifiers: list[tuple[str, str, str, Stated]] = field(default_factory=list)  # kind, normal, path, as stated
    unfit: list[tuple[str, str, Any]] = field(default_factory=list)  # path, reason, value

    @property
    def told(self) -> tuple[str, ...]:
        """The attributes, and the paths of what is set aside."""
        return (*self.sealed, *self.clear, *self.retracted, *(path for path, _, _ in self.unfit))


def check(facts: Facts, identifiers: Identifiers, known: Known) -> Checked:
    """Sort statements into what can be said and what is set aside."""
    checked = Checked()
    for attribute, value in facts.items():
        path = f"facts.{attribute}"
        if value is None:
            checked.retracted.append(attribute)
        elif attribute in CLEAR and fits_clear(value):
            checked.clear[attribute] = value
        elif attribute == "birth_date":
            try:
                checked.sealed[attribute] = birth_date(str(value), moment(known.now).date())
            except Unfit as unfit:
                checked.unfit.append((path, str(unfit), value))
        else:
            if attribute not in ("phone", "email"):
                checked.sealed[attribute] = value
                continue
            several = value if isinstance(value, list) else [value]
            fit = []
            for n, each in enumerate(several):
                told = Stated.model_construct(value=str(each))  # Too long is unfit, not a mistake.
                reason = _check_identifier(checked, attribute, told, path, known)
                if reason is not None:
                    checked.unfit.append((f"{path}.{n}" if isinstance(value, list) else path, reason, each))
                fit.append(reason is None)
            if all(fit) and fit:
                checked.sealed[attribute] = value
            elif any(fit):
                checked.sealed[attribute] = [each for each, fits in zip(several, fit, strict=True) if fits]
    for kind, values in identifiers.items():
        for n, each in enumerate(values if isinstance(values, list) else [values]):
            path = f"identifiers.{kind}.{n}" if isinstance(values, list) else f"identifiers.{kind}"
            stated = each if isinstance(each, Stated) else Stated(value=each)
            if (reason := _check_identifier(checked, kind, stated, path, known)) is not None:
                checked.unfit.append((path, reason, aside(kind, stated)))
    return checked


def aside(kind: str, stated: Stated) -> dict[str, Any]:
    """What is kept of an end point that is set aside: all that was told of it."""
    return {"kind": kind, **stated.model_dump(mode="json", exclude_none=True)}


def _check_identifier(checked: Checked, kind: str, stated: Stated, path: str, known: Known) -> str | None:
    """Why it cannot be one; None where it can, and is one of those checked from now on."""
    try:
        normal = identifier(kind, stated.value, known.region)
    except Unfit as unfit:
        return str(unfit)
    checked.identifiers.append((kind, normal, path, stated))
    return None


def is_value(value: Any, attribute: str) -> bool:
    if attribute in CLEAR:
        return isinstance(value, str) and 0 < len(value) <= 200
    if isinstance(value, list):
        return 0 < len(value) <= 100 and all(is_value(each, attribute) for each in value)
    if isinstance(value, dict):
        return attribute == "address" or attribute.startswith("x-")
    return isinstance(value, str | int | float | bool)
