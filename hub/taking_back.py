"""Taking back what a source said: of one record, by its id or its key, or of every record of a customer."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from hub.decider import Boundary, Command, Known
from hub.errors import Forbidden, Unknown
from hub.events import RecordId
from hub.fields import Reason, SourceName, Text, Uuid
from hub.opening import key_of
from hub.subject import Subject, by_id, by_key, is_foreign, registered


class TakeBack(Command):
    """What such commands share."""

    roles: ClassVar = frozenset({"channel", "operator", "steward", "local"})

    record: Uuid | None = None
    customer: Uuid | None = None
    source: SourceName | None = None
    key: Text | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if sum(each is not None for each in (self.record, self.customer, self.key)) != 1:
            raise ValueError("one_of_record_customer_key")
        return self


def concerned(command: TakeBack, known: Known) -> Boundary[tuple[Subject, tuple[RecordId, ...]]]:
    """Whom it is about, and the records it speaks of. A channel speaks for its own record only.

    Raises Unknown, or Forbidden where the record is another source's.
    """
    if command.key is not None:
        source, key = key_of(command.source, command.key, {}, known)
        subject = yield from by_key(known, source, key)
        if not subject.is_open:
            raise Unknown
    else:
        if command.source is not None:
            yield from registered(command.source)
        subject = yield from by_id(command.record or command.customer or "", seen=command.seen)
    if is_foreign(subject, known):
        raise Forbidden
    of_all = command.customer is not None and known.principal.source is None
    return subject, subject.members if of_all else (subject.record,)
