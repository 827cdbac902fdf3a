"""Where the feed goes: the destinations of a TOML file, each checked whole before anything is sent."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from adapters.api.access import MAY, READERS
from adapters.outbound import envelope
from adapters.outbound.words import flaw
from adapters.toml import Table, read
from hub.events import VOCABULARY
from hub.identity.normalise import is_code
from hub.settings import Settings

KINDS = ("webhook", "nats")
STARTS = ("beginning", "now")
DAY = 24 * 60 * 60
# What seals hold that cards, timelines and the quarantine show; and to whom the log is opened with everything in it.
SEEN = frozenset({"content", "facts", "names", "quarantined", "value"})
ALL_SEEN = MAY["log"] & READERS

_COMMON = {
    "name", "kind", "url", "secret", "secret_env", "types", "role", "open", "start", "private", "ca", "give_up_after",
}  # fmt: skip
_OF_KIND = {"webhook": set[str](), "nats": {"subject", "stream", "create"}}
_FORMS = {"webhook": ("https", "https://host/path"), "nats": ("tls", "tls://host:4222")}


@dataclass(frozen=True)
class Destination:
    """One of the file, checked."""

    name: str
    kind: str
    url: SplitResult
    secrets: tuple[bytes, ...] = field(repr=False)  # Each signs; a NATS token is one.
    types: frozenset[str] | None  # None: all.
    role: str | None
    open: Mapping[str, tuple[envelope.Path, ...]]  # By type.
    start: str  # One of STARTS.
    private: bool  # It may lie in a private network, or on this machine.
    ca: Path | None  # Who vouches for its certificate, instead of those the system trusts.
    give_up_after: int  # Seconds of failing after which an event is a dead letter.
    subject: str
    stream: str
    create: bool

    @property
    def encrypted(self) -> bool:
        return self.url.scheme in ("https", "tls")

    @property
    def port(self) -> int:
        usual = 4222 if self.kind == "nats" else 443 if self.encrypted else 80
        return self.url.port or usual


def destinations(settings: Settings) -> list[Destination]:
    """What the file says; none where there is no file. Raises Misconfigured with place and fix."""
    if not settings.feeds.exists() and settings.feeds == settings.data / "feeds.toml":
        return []
    table = read(settings.feeds)
    table.only({"feed"})
    found: list[Destination] = []
    for each in table.tables("feed"):
        made = _destination(each)
        if any(made.name == other.name for other in found):
            each.fail("name", flaw("name_twice"))
        found.append(made)
    return found


def _destination(table: Table) -> Destination:
    kind = table.choice("kind", KINDS)
    table.only(_COMMON | _OF_KIND[kind])
    name = table.text("name")
    if not is_code(name):
        table.fail("name", flaw("name"))
    if kind == "nats" and find_spec("nats") is None:
        table.fail("kind", flaw("no_nats"))
    types = table.texts("types")
    for each in types:
        if each not in VOCABULARY.types:
            table.fail("types", flaw("no_type", name=each, known=", ".join(sorted(VOCABULARY.types))))
    private = table.flag("private")
    role = table.text("role") or None
    subject, stream = table.text("subject", "hub.main"), table.text("stream")
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", subject, re.ASCII):
        table.fail("subject", flaw("subject"))
    if kind == "nats" and not re.fullmatch(r"[\w-]+", stream, re.ASCII):
        table.fail("stream", flaw("stream"))
    return Destination(
        name,
        kind,
        _url(table, kind, private),
        _secrets(table, kind),
        frozenset(types) or None,
        role,
        _open(table, role, types),
        table.choice("start", STARTS, "now"),
        private,
        _ca(table),
        table.number("give_up_after", DAY),
        subject,
        stream,
        table.flag("create"),
    )


def _url(table: Table, kind: str, private: bool) -> SplitResult:
    encrypted, form = _FORMS[kind]
    text = table.text("url")
    plain = {"https": "http", "tls": "nats"}[encrypted]
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        table.fail("url", flaw("url", form=form))
    if not re.fullmatch(r"[!-~]+", text) or not url.hostname or port == 0 or "@" in url.netloc or "#" in text:
        table.fail("url", flaw("url", form=form))
    if url.scheme not in (encrypted, plain) or (kind == "nats" and (url.path.strip("/") or url.query)):
        table.fail("url", flaw("url", form=form))
    if url.scheme == plain and not private:
        table.fail("url", flaw("plain", scheme=encrypted))
    return url


def _secrets(table: Table, kind: str) -> tuple[bytes, ...]:
    """Standard Webhooks: 24 to 64 bytes, base64 behind `whsec_`. For NATS, a token as it is."""
    told = table.secrets()
    key = "secret" if "secret" in table.read else "secret_env"
    if kind == "nats":
        if len(told) > 1:
            table.fail(key, flaw("one_token"))
        return tuple(each.encode() for each in told)
    try:
        secrets = tuple(base64.b64decode(each.removeprefix("whsec_"), validate=True) for each in told)
    except (binascii.Error, ValueError):
        table.fail(key, flaw("no_secret"))
    if not secrets or not all(24 <= len(each) <= 64 for each in secrets):
        table.fail(key, flaw("no_secret"))
    return secrets


def _open(table: Table, role: str | None, types: tuple[str, ...]) -> dict[str, tuple[envelope.Path, ...]]:
    """What may be opened is what the role sees when it asks: channels, analysts, admins and auditors see nothing."""
    found: dict[str, tuple[envelope.Path, ...]] = {}
    for each in table.texts("open"):
        type, *path = each.split(".")
        if not path or not all(path):
            table.fail("open", flaw("open_form"))
        if type not in VOCABULARY.types:
            table.fail("open", flaw("no_type", name=type, known=", ".join(sorted(VOCABULARY.types))))
        if types and type not in types:
            table.fail("open", flaw("not_sent", name=type))
        if role not in READERS:
            table.fail("open", flaw("open_role", roles=", ".join(f'"{name}"' for name in sorted(READERS))))
        if role not in ALL_SEEN and path[0] not in SEEN:
            table.fail("open", flaw("open_more", role=role, name=path[0], seen=", ".join(sorted(SEEN))))
        found[type] = (*found.get(type, ()), tuple(path))
    if role is not None:
        table.choice("role", MAY["commands"])
    return found


def _ca(table: Table) -> Path | None:
    if not (told := table.text("ca")):
        return None
    file = table.file.parent / told
    try:
        ssl.create_default_context(cafile=file)
    except OSError:  # An SSLError is one, too.
        table.fail("ca", flaw("ca"))
    return file
