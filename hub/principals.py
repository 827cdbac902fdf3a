"""Who may ask: API keys, and the principals behind them.

A key is `hub_<id>_<secret>`, and only the SHA-256 of its secret is kept. Its principal is a source (role `channel`) or
a person, so that all keys of one asker share their idempotency ids. What is looked up is remembered for half a
second: a revoked key stops within that time in every process.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Lock
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from hub.clock import fresh_id
from hub.database import AWAY, load_queries
from hub.decider import Principal
from hub.errors import Busy, Flaw, Invalid, Rejected, Unauthenticated, Unknown
from hub.events.base import uuid_text
from hub.identity.normalise import is_code
from hub.texts import say

ROLES = ("channel", "operator", "analyst", "steward", "compliance", "admin", "auditor")
LONGEST_LIFE = 365  # Days.
REMEMBERED_FOR = 0.5  # Seconds.
LONGEST_TOKEN = 200
PATIENCE = 5.0  # Seconds to get a connection.

SQL = load_queries(__file__)


class SeparationOfDuties(Rejected):
    """Nobody both administers and reads personal data: this person has a key of the other kind."""


class KeyEnded(Rejected):
    """This key was revoked or has run out; make a new one."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without its secret."""

    id: str
    role: str
    principal: str
    source: str | None
    person: str | None
    made_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    @property
    def stands(self) -> bool:
        return self.revoked_at is None and self.expires_at > datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Remembered:
    principal: Principal
    secret_hash: bytes
    expires_at: float  # By the wall clock.
    until: float  # By the monotonic clock.


class Principals:
    """Makes, lists, revokes and recognises API keys; safe to share between threads."""

    def __init__(self, pool: ConnectionPool[Connection[Any]]) -> None:
        self._pool = pool
        self._known: dict[str, _Remembered] = {}
        self._away_at = 0.0  # When the database was last found to be away, by the monotonic clock.
        self._lock = Lock()

    def make(
        self, role: str, *, source: str | None = None, person: str | None = None, days: int = LONGEST_LIFE
    ) -> tuple[ApiKey, str]:
        """A new key, and the token that is shown this once. Raises Invalid, or SeparationOfDuties."""
        with self._pool.connection() as connection:
            return self._make(connection, role, source, person, days)

    def rotate(self, id: str, *, days: int = LONGEST_LIFE) -> tuple[ApiKey, str]:
        """Another key for the principal and role of this one, which goes on until it is revoked.

        Once a revocation of this one has returned, no other can come of it.

        Raises Unknown, KeyEnded, Invalid, or SeparationOfDuties.
        """
        with self._pool.connection() as connection:
            row = connection.execute(SQL["holder"], (id,)).fetchone()
            if row is None:
                raise _no_key(id)
            principal, role, source, person, stands = row
            if not stands:
                raise KeyEnded
            _check(role, source, person, days)
            return self._add(connection, str(principal), role, source, person, days)

    def first(self, keep: Callable[[dict[str, str]], None]) -> dict[str, str]:
        """Where there are no keys yet: an admin's and an operator's, as token by role. `keep` gets them first."""
        with self._pool.connection() as connection:
            connection.execute(SQL["one_at_a_time"])
            if connection.execute(SQL["any"]).fetchone():
                return {}
            tokens = {role: self._make(connection, role, None, role, LONGEST_LIFE)[1] for role in ("admin", "operator")}
            keep(tokens)
            return tokens

    def channel(self, source: str) -> Principal:
        """The source itself, as which its channel systems act and its files are imported."""
        with self._pool.connection() as connection:
            return Principal(self._principal(connection, source, None), "channel", source)

    def all(self) -> list[ApiKey]:
        """Every key there ever was, the newest first."""
        with self._pool.connection() as connection:
            return connection.cursor(row_factory=class_row(ApiKey)).execute(SQL["keys"]).fetchall()

    def revoke(self, id: str) -> None:
        """End a key; ending it again changes nothing. Raises Unknown."""
        with self._pool.connection() as connection:
            if not connection.execute(SQL["revoke"], (id,)).rowcount:
                raise _no_key(id)
        self._known.pop(id, None)

    def remembered(self, token: str) -> Principal | None:
        """Whose key this is, where that was looked up a moment ago; asks nobody. Raises Unauthenticated."""
        id, secret_hash = _parts(token)
        known = self._known.get(id)
        if known is None or known.until < time.monotonic():
            return None
        return _recognised(known, secret_hash)

    def authenticate(self, token: str) -> Principal:
        """Whose key this is. Raises Unauthenticated, or Busy or OperationalError without a database."""
        asked = time.monotonic()
        with self._lock:  # Of many who ask at once with one key, one looks it up.
            if principal := self.remembered(token):
                return principal
            if asked <= self._away_at:  # One after the other, the last would wait as long as the database is away.
                raise Busy(say("database_away"))
            id, secret_hash = _parts(token)
            try:
                with self._pool.connection(PATIENCE) as connection:
                    row = connection.execute(SQL["key"], (id,), prepare=True).fetchone()
            except AWAY:
                self._away_at = time.monotonic()
                raise
            if row is None:
                self._known.pop(id, None)
                raise Unauthenticated
            principal_id, role, source, stored, expires_at = row
            principal = Principal(str(principal_id), role, source)
            known = _Remembered(principal, bytes(stored), expires_at.timestamp(), time.monotonic() + REMEMBERED_FOR)
            self._known[id] = known
        return _recognised(known, secret_hash)

    def _make(
        self, connection: Connection[Any], role: str, source: str | None, person: str | None, days: int
    ) -> tuple[ApiKey, str]:
        _check(role, source, person, days)
        return self._add(connection, self._principal(connection, source, person), role, source, person, days)

    def _add(
        self,
        connection: Connection[Any],
        principal: str,
        role: str,
        source: str | None,
        person: str | None,
        days: int,
    ) -> tuple[ApiKey, str]:
        if person is not None:
            connection.execute(SQL["lock_principal"], (principal,))
            held = {held for (held,) in connection.execute(SQL["roles_held"], (principal,))}
            if held and (role == "admin") != ("admin" in held):
                raise SeparationOfDuties
        id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        key = ApiKey(id, role, principal, source, person, now, now + timedelta(days=days), None)
        hashed = sha256(secret.encode()).digest()
        connection.execute(SQL["add_key"], (id, principal, role, hashed, now, key.expires_at))
        return key, f"hub_{id}_{secret}"

    def _principal(self, connection: Connection[Any], source: str | None, person: str | None) -> str:
        id = uuid_text(fresh_id())
        connection.execute(SQL["add_principal"], (id, source, person))
        if source is not None or person is not None:
            (id,) = connection.execute(SQL["principal"], (source, person)).fetchone() or (id,)
        return str(id)


def _no_key(id: str) -> Unknown:
    return Unknown(say("no_key"))


def _check(role: str, source: str | None, person: str | None, days: int) -> None:
    flaws: list[Flaw] = []
    if role not in ROLES:
        flaws.append(Flaw("role", "not_one_of_the_allowed"))
    if role == "channel" and source is None:
        flaws.append(Flaw("source", "missing"))
    if role != "channel" and source is not None:
        flaws.append(Flaw("source", "only_for_channels"))
    if source is not None and not is_code(source):
        flaws.append(Flaw("source", "not_a_code"))
    if person is not None and role == "channel":
        flaws.append(Flaw("person", "not_for_channels"))
    if person is not None and not 1 <= len(person) <= 200:
        flaws.append(Flaw("person", "too_long" if person else "too_short"))
    if not 1 <= days <= LONGEST_LIFE:
        flaws.append(Flaw("days", "too_large" if days > 1 else "too_small"))
    if flaws:
        raise Invalid(*flaws)


def _parts(token: str) -> tuple[str, bytes]:
    prefix, _, rest = token.partition("_")
    id, _, secret = rest.partition("_")
    if prefix != "hub" or not id or not secret or len(token) > LONGEST_TOKEN or not token.isascii():
        raise Unauthenticated
    return id, sha256(secret.encode()).digest()


def _recognised(known: _Remembered, secret_hash: bytes) -> Principal:
    if not hmac.compare_digest(known.secret_hash, secret_hash) or known.expires_at <= time.time():
        raise Unauthenticated
    return known.principal
