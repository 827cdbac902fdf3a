"""Record a touch: something happened between a customer and the company, in either direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from hub import statements
from hub.checks import Facts, Identifiers, Stated, aside, check
from hub.decider import Boundary, Command, Decider, Draft, Known, Outcome, Secret
from hub.errors import Flaw, Forbidden, Invalid
from hub.events import Channel, Contact, ContactId, Recorded, TouchQuarantined, TouchRecorded, month_of
from hub.fields import CodeText, EndPoint, SourceName, Text, Uuid, clear_and_sealed
from hub.identity.normalise import Unfit, identifier
from hub.log.read import Scope
from hub.names import OF_A_CONTACT, Name, house_drafts, id_of, named, new_strings
from hub.opening import Unnameable, key_of, opening, with_facts
from hub.quarantine import set_aside
from hub.statements import Standing
from hub.subject import Subject, by_id, by_key, holding, is_foreign, member_of, registered

AS_SAID = frozenset({
    "channel", "kind", "purpose", "topic", "campaign", "offer", "in_reply_to", "answers", "asks", "resolved",
})  # fmt: skip
STRINGS = frozenset({"sender", "matter", "agent", "provider_id", "source_event"})
Data = Annotated[dict[str, str | bool | int | float], Field(max_length=200)]


class RecordTouch(Command):
    roles: ClassVar = frozenset({"channel", "operator", "steward", "compliance", "local"})

    command: Literal["record_touch"]
    source: SourceName | None = None
    key: Text | None = None
    customer: Uuid | None = None
    channel: Channel
    direction: Literal["in", "out"] = "in"
    kind: CodeText | None = None
    purpose: CodeText | None = None
    topic: CodeText | None = None
    campaign: CodeText | None = None
    offer: CodeText | None = None
    identifiers: Identifiers = Field(default_factory=dict)
    facts: Facts = Field(default_factory=dict)
    content: Mapping[str, Any] = Field(default_factory=dict)
    data: Data = Field(default_factory=dict)
    sender: Text | None = None
    matter: Text | None = None
    agent: Text | None = None
    identifier: EndPoint | None = None
    provider_id: Text | None = None
    source_event: Text | None = None
    reservation: Uuid | None = None
    in_reply_to: Uuid | None = None
    answers: Annotated[tuple[Uuid, ...], Field(max_length=100)] = ()
    asks: bool | None = None
    resolved: bool | None = None


class Touched(NamedTuple):
    """The record touched, what its source has said, the strings' ids, and the contact this is, if it is known."""

    subject: Subject | None  # None: nobody can be named.
    key: str = ""
    standing: Standing = Standing()
    names: Mapping[str, Name] = MappingProxyType({})
    contacts: tuple[Recorded, ...] = ()  # What was recorded before about the contact this may be.
    unnameable: Unnameable | None = None


def boundary(command: RecordTouch, known: Known) -> Boundary[Touched]:
    try:
        subject, key = yield from _subject(command, known)
    except Unnameable as error:
        yield from registered(error.source)
        return Touched(None, unnameable=error)
    if subject.is_open and (command.facts or command.identifiers or command.identifier):
        told = check(command.facts, {}, known).told
        stating = bool(command.identifiers or command.identifier or command.facts.keys() & {"phone", "email"})
        yield from statements.said_before(subject.record, told, stating, known.periods.confirm_after)
    names = {} if STRINGS.isdisjoint(command.model_fields_set) else (yield from _names(command, known))
    before = [each for kind in OF_A_CONTACT if kind in names for each in names[kind].said_in]
    if command.direction == "out" and command.reservation is not None:
        (reserved,) = yield (Scope.of(TouchRecorded, tag=f"contact:{command.reservation}", opened=True),)
        before = [*reserved, *before]
    return Touched(subject, key, names=names, contacts=tuple(before))


def _names(command: RecordTouch, known: Known) -> Boundary[dict[str, Name]]:
    wanted = {
        "sender": command.sender,
        "matter": command.matter,
        "agent": command.agent,
        "provider": command.provider_id,
        "source_event": command.source_event,
    }
    return (yield from named(known, wanted, scoped_to=command.source or known.principal.source or ""))


def _subject(command: RecordTouch, known: Known) -> Boundary[tuple[Subject, str]]:
    if command.customer is None:
        stated = {} if command.key is not None else with_facts(command.identifiers, command.facts)
        if command.identifier is not None:
            stated.setdefault(command.identifier.kind, command.identifier.value)
        source, key = key_of(command.source, command.key, stated, known)
        unites = command.direction == "out" and bool(command.provider_id or command.source_event or command.reservation)
        return (yield from by_key(known, source, key, decides_membership=unites)), key
    if command.source is not None:
        yield from registered(command.source)
    if command.key is not None:
        raise Invalid(Flaw("customer", "either_customer_or_key"))
    subject = yield from by_id(command.customer, seen=command.seen)
    if command.identifier is not None:
        try:
            normal = identifier(command.identifier.kind, command.identifier.value, known.region)
        except Unfit:
            return subject, ""
        found = yield from holding(subject, known, command.identifier.kind, normal)
        if found is not subject:
            return found, ""
    if command.in_reply_to is not None:
        (asked,) = yield (Scope.event(command.in_reply_to),)
        record = getattr(asked[0].event, "record", None) if asked else None
        if record in subject.members:
            return (yield from member_of(subject, record)), ""
    return subject, ""


def evolve(state: Touched, recorded: Recorded) -> Touched:
    if type(recorded.event) not in statements.STATEMENTS:
        return state
    if state.subject is None or getattr(recorded.event, "record", None) != state.subject.record:
        return state  # Read to find whom it is about; said of another record.
    return state._replace(standing=statements.evolve(state.standing, recorded))


def decide(command: RecordTouch, state: Touched, known: Known) -> Outcome:
    if state.subject is None:
        assert state.unnameable is not None
        return _nobody(command, state.unnameable, known)
    subject = state.subject
    if (command.facts or command.identifiers) and is_foreign(subject, known):
        raise Forbidden
    drafts: list[Draft] = []
    if not subject.is_open:
        drafts.append(opening(subject, state.key, None))
    used: str | None = None
    unfit: Sequence[tuple[str, str, Any]] = ()  # What rides in the touch it came with.
    normal: str | None = None
    if command.facts or command.identifiers or command.identifier:
        checked = check(command.facts, command.identifiers, known)
        if command.identifier is not None:
            try:
                normal = identifier(command.identifier.kind, command.identifier.value, known.region)
                if not is_foreign(subject, known):
                    as_used = Stated(value=command.identifier.value)
                    checked.identifiers.append((command.identifier.kind, normal, "identifier", as_used))
            except Unfit as reason:
                used_for = Stated(value=command.identifier.value)
                kept = aside(command.identifier.kind, used_for)
                checked.unfit.append(("identifier.value", str(reason), kept))
        unfit = statements.unfit_still(state.standing, checked)
        told = statements.drafts(subject.record, state.standing, checked, known)
        drafts.extend(told)
        if command.identifier is not None and normal is not None:
            used = _identifier_id(command.identifier.kind, normal, state.standing, told, known)
    if state.names:
        drafts.extend(house_drafts(known, state.names))
    drafts.append(_touch(command, state, subject, used, normal, unfit, known))
    return Outcome(drafts, subject.record, subject.members)


def _touch(
    command: RecordTouch,
    state: Touched,
    subject: Subject,
    used: str | None,
    normal: str | None,
    unfit: Sequence[tuple[str, str, Any]],
    known: Known,
) -> Draft:
    content: dict[str, Any] = {}
    if command.content:
        content["content"] = command.content
    if command.identifier is not None and used is None and normal is not None:
        content["identifier"] = command.identifier.model_dump()  # Of a record this channel may not speak for.
    clear, sealed = clear_and_sealed(command.data)
    if sealed:
        content["data"] = sealed
    of_contact = OF_A_CONTACT if command.direction == "out" else frozenset()
    tags: tuple[bytes, ...] = ()
    if state.names:
        strings, tags = new_strings(state.names, but=of_contact)
        if strings:
            content["names"] = strings
    quarantined, apart = set_aside(subject.record, unfit, known) if unfit else ((), ())
    secrets = [Secret(subject.record, content, tags)] if content or tags else []
    said: dict[str, Any] = {
        name: value for name in AS_SAID & command.model_fields_set if (value := getattr(command, name)) is not None
    }
    said["direction"] = command.direction
    said.update((kind, name.id) for kind, name in state.names.items())
    if used is not None:
        said["identifier"] = used
    if clear:
        said["data"] = clear
    if quarantined:
        said["quarantined"] = quarantined
    if command.direction == "out":
        by = (command.identifier.kind, normal) if command.identifier is not None and normal is not None else None
        contact, first, found_by = _contact(command, state, subject, used, by, known)
        if found_by:
            names = {kind: state.names[kind].value for kind in OF_A_CONTACT & state.names.keys()}
            contact = contact.model_copy(update={"seal": len(secrets)})
            secrets.append(Secret(subject.record, {"names": names} if names else {}, found_by))
        said["contact"] = contact
        if first is not None:
            said |= {kind: id for kind in OF_A_CONTACT if (id := getattr(first, kind)) and kind not in said}
    return Draft(TouchRecorded(record=subject.record, **said), (*secrets, *apart))


def _contact(
    command: RecordTouch,
    state: Touched,
    subject: Subject,
    used: str | None,
    by: tuple[str, str] | None,
    known: Known,
) -> tuple[Contact, TouchRecorded | None, tuple[bytes, ...]]:
    """The contact this touch is; the first report of it, if there is one; and the sealed tags it is found by.

    A later report has the contact's id and record, and repeats the first one's tags.
    """
    names = state.names
    first = _reported_before(state, subject)
    id: ContactId = known.new_id()
    record = subject.record
    months: tuple[str, ...] = (month_of(known.occurred_at),)
    tags = [names[kind].tag for kind in sorted(OF_A_CONTACT & names.keys())]
    report: TouchRecorded | None = None
    if first is not None:
        assert isinstance(first.event, TouchRecorded)
        report = first.event
        assert report.contact is not None
        id, record = report.contact.contact, report.contact.record
        months = tuple(dict.fromkeys((*report.contact.months, *months)))
        tags += [tag for tag, n in first.sealed_tags.items() if n == report.contact.seal]
    elif command.reservation is not None and not any(_is_of(each, command.reservation) for each in state.contacts):
        id = command.reservation
    if by is not None:
        tags += [known.fingerprint("contacts-by", *by, month) for month in months]
    contact = Contact(
        contact=id,
        record=record,
        channel=command.channel,
        at=known.occurred_at,
        months=months,
        purpose=command.purpose,
        campaign=command.campaign,
        offer=command.offer,
        sender=id_of(names, "sender"),
        matter=id_of(names, "matter"),
        identifier=used,
    )
    return contact, report, tuple(dict.fromkeys(tags))


def _is_of(recorded: Recorded, contact: ContactId) -> bool:
    part = getattr(recorded.event, "contact", None)
    return isinstance(part, Contact) and part.contact == contact


def _reported_before(state: Touched, subject: Subject) -> Recorded | None:
    for each in state.contacts:
        contact = getattr(each.event, "contact", None)
        if isinstance(contact, Contact) and contact.record in subject.members:
            return each
    return None


def _identifier_id(kind: str, normal: str, standing: Standing, told: list[Draft], known: Known) -> str | None:
    """The random id of the end point used: stated before, or by this very command."""
    tag = known.fingerprint(kind, normal)
    for id, held in standing.identifiers.items():
        if tag in held.tags:
            return id
    for draft in told:
        if any(tag in secret.tags for secret in draft.secrets):
            return getattr(draft.event, "identifier", None)
    return None


def _nobody(command: RecordTouch, why: Unnameable, known: Known) -> Outcome:
    """Nothing sent is lost: a touch whose record cannot be named waits in quarantine."""
    event = TouchQuarantined(item=known.new_id(), path=why.path, reason=why.reason)
    content = {"touch": command.model_dump(mode="json", exclude_defaults=True)}
    return Outcome((Draft(event, (Secret(known.house, content),)),))


record_touch = Decider(RecordTouch, boundary, evolve, decide)
