"""Every error of the hub, as a tree. The docstring of a class is the sentence a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


class HubError(Exception):
    """Something the hub could not do."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()

    def kept(self) -> Self:
        """The same, to be kept as an answer: the frames it was raised through hold what will hold it, a whole slice."""
        return self.with_traceback(None)


class Misconfigured(HubError):
    """The hub cannot start as it is set up."""


class DatabaseMissing(Misconfigured):
    """No PostgreSQL was found."""


class ServerFailed(HubError):
    """The embedded PostgreSQL does not start or stop."""


class MigrationMismatch(Misconfigured):
    """The migrations in this folder are not those the database was built with."""


class WrongKeys(Misconfigured):
    """The key file does not belong to this database; restore the one that does."""


class Busy(HubError):
    """The hub is busy; ask again shortly."""


class Behind(Busy):
    """The read side has not caught up with that position yet; ask again shortly."""


class ModelFailed(Busy):
    """A read model this question needs has failed."""


class Conflict(HubError):
    """Something new arrived inside the boundary of a decision."""

    def __init__(self, matched: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.matched = matched  # Indexes of the condition's items that matched.


class Erased(HubError):
    """The personal data of this record was erased."""


class Unknown(HubError):
    """No such customer, record or event."""


class Forbidden(HubError):
    """This key may not do that."""


class Unauthenticated(HubError):
    """No API key, or one that is unknown, expired or revoked."""


class IdReused(HubError):
    """This id was used before with another body; a new command needs a new id."""


@dataclass(frozen=True)
class Flaw:
    """One thing wrong with an input: where, and which rule. Never the value."""

    path: str
    reason: str


class Invalid(HubError):
    """The input does not have the shape that was asked for."""

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__("; ".join(f"{flaw.path}: {flaw.reason}" for flaw in flaws))
        self.flaws = flaws


class Rejected(HubError):
    """A rule refuses this command. Each refusal is a subclass named after its rule."""


class SealDamaged(Rejected):
    """What is sealed of this record is damaged, or its key; restore it from a backup of the database."""
