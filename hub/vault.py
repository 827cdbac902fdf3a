"""The vault: the keys of records, stored wrapped under those of the key file, and what is sealed under them.

AES-256-GCM with random 96-bit nonces (NIST SP 800-38D): a record's key seals few messages, far below the 2^32 bound.
Keys of records are random, not derived: whoever holds the root could make a derived key again after its destruction.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct, pack
from threading import Lock
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from hub.errors import SealDamaged
from hub.events.base import uuid_bytes
from hub.keys import KeyFile, framed

NONCE_BYTES = 12
CACHED_KEYS = 200_000  # Some 60 MB when full.

_PLACE = Struct(">HI").pack
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordKey:
    """A record's key in one retention class, ready for use."""

    number: int
    cipher: AESGCM
    bound: bytes  # What every seal under it is bound to: tenant, record, retention class.
    wrapped: bytes | None = None  # Only on a key not stored yet.
    epoch: int = 1


class Sealed(NamedTuple):
    """A ciphertext as stored, and the digest that stands in the log."""

    record: str
    retention: int
    key: int
    box: bytes
    digest: bytes


KeyName = tuple[str, int, int]  # Record, retention class, number: which key a seal was made under.


class Vault:
    """The keys of records: made once, cached, never made again after destruction. Thread-safe."""

    def __init__(self, keys: KeyFile, tenant: str) -> None:
        self._epoch = max(keys.key_encryption)
        self._wrapping = {epoch: AESGCM(key) for epoch, key in keys.key_encryption.items()}
        self._tenant = framed(uuid_bytes(tenant))
        self._cache: OrderedDict[tuple[str, int], tuple[RecordKey, ...]] = OrderedDict()  # By number.
        self._lock = Lock()

    def make(self, record: str, retention: int = 0) -> RecordKey:
        """A fresh key for a record just being opened. The caller stores it with the record's first event."""
        secret = AESGCM.generate_key(256)
        nonce = _nonce()
        bound = self._tenant + uuid_bytes(record) + pack(">H", retention)
        wrapped = nonce + self._wrapping[self._epoch].encrypt(nonce, secret, bound + pack(">I", self._epoch))
        return RecordKey(1, AESGCM(secret), bound, wrapped, self._epoch)

    def remember(self, record: str, key: RecordKey, retention: int = 0) -> None:
        """Cache a key whose row is committed; it is the newest then."""
        with self._lock:
            older = [each for each in self._cache.get((record, retention), ()) if each.number < key.number]
            self._keep((record, retention), (*older, RecordKey(key.number, key.cipher, key.bound)))

    def keys_of(
        self, connection: Connection[Any], records: Iterable[str], retention: int = 0
    ) -> dict[str, RecordKey | None]:
        """The newest key of each record, to seal with; a record without one is absent, one whose key was destroyed too.

        None stands for a damaged one. Another process may have stored a newer one since; both are good.
        """
        wanted = [(record, retention) for record in records]
        known: dict[str, RecordKey | None]
        with self._lock:
            known = {each[0]: keys[-1] for each in wanted if (keys := self._cache.get(each))}
        read, damaged = self._read(connection, [each for each in wanted if each[0] not in known])
        known |= {record: keys[-1] for (record, _), keys in read.items()}
        return known | dict.fromkeys(record for record, _, _ in damaged)

    def keys_named(self, connection: Connection[Any], names: Collection[KeyName]) -> dict[KeyName, RecordKey | None]:
        """The very keys these seals were made under; a destroyed one is absent, None stands for a damaged one."""
        found: dict[KeyName, RecordKey | None]
        with self._lock:
            found = {name: key for name in names for key in self._cache.get(name[:2], ()) if key.number == name[2]}
        if missing := {name for name in names if name not in found}:
            read, damaged = self._read(connection, {name[:2] for name in missing})
            found |= {name: key for name in missing for key in read.get(name[:2], ()) if key.number == name[2]}
            found |= dict.fromkeys(damaged & missing)
        return found

    def _read(
        self, connection: Connection[Any], wanted: Collection[tuple[str, int]]
    ) -> tuple[dict[tuple[str, int], tuple[RecordKey, ...]], set[KeyName]]:
        """All keys there are of these records and classes, and which are damaged; cached where none is."""
        if not wanted:
            return {}, set()
        rows = connection.execute(
            "SELECT record::text, class, key, epoch, wrapped FROM hub.record_key"
            " JOIN unnest(%s::uuid[], %s::smallint[]) AS wanted (record, class) USING (record, class)"
            " WHERE wrapped IS NOT NULL ORDER BY key",
            ([record for record, _ in wanted], [retention for _, retention in wanted]),
            binary=True,
        )
        found: dict[tuple[str, int], tuple[RecordKey, ...]] = {}
        damaged: set[KeyName] = set()
        for record, retention, number, epoch, wrapped in rows:
            if self._is_over(epoch):
                continue
            if (key := self._unwrap(record, retention, number, epoch, wrapped)) is None:
                _log.warning("key %d of record %s in class %d is damaged", number, record, retention)
                damaged.add((record, retention, number))
            else:
                found[record, retention] = (*found.get((record, retention), ()), key)
        incomplete = {name[:2] for name in damaged}
        with self._lock:
            for each, keys in found.items():
                if each not in incomplete:  # Else one that is put right would not be seen.
                    self._keep(each, keys)
        return found, damaged

    def is_damaged(self, record: str, retention: int, number: int, epoch: int, wrapped: bytes) -> bool:
        """Whether this stored key ought to unwrap and does not."""
        return not self._is_over(epoch) and self._unwrap(record, retention, number, epoch, wrapped) is None

    def _is_over(self, epoch: int) -> bool:
        """Whether an epoch's key was destroyed, and with it the keys it wrapped; that of the newest never is."""
        return epoch < self._epoch and epoch not in self._wrapping

    def _keep(self, of: tuple[str, int], keys: tuple[RecordKey, ...]) -> None:
        self._cache[of] = keys
        if len(self._cache) > CACHED_KEYS:
            self._cache.popitem(last=False)

    def seal(
        self, key: RecordKey, record: str, event: bytes, n: int, content: Mapping[str, Any], retention: int = 0
    ) -> Sealed:
        """Encrypt what belongs to `record`, bound to its event and its place in it. `content` is any JSON object."""
        nonce = _nonce()
        plain = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        box = nonce + key.cipher.encrypt(nonce, plain, key.bound + event + _PLACE(n, key.number))
        return Sealed(record, retention, key.number, box, seal_digest(box))

    def open(self, key: RecordKey, event: bytes, n: int, box: bytes) -> dict[str, Any]:
        """Decrypt a seal. Raises SealDamaged when box, event or place do not belong together."""
        bound = key.bound + event + _PLACE(n, key.number)
        try:
            opened: dict[str, Any] = orjson.loads(key.cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], bound))
        except (InvalidTag, ValueError):
            raise SealDamaged from None
        return opened

    def _unwrap(self, record: str, retention: int, number: int, epoch: int, wrapped: bytes) -> RecordKey | None:
        bound = self._tenant + uuid_bytes(record) + pack(">H", retention)
        nonce, rest = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            secret = self._wrapping[epoch].decrypt(nonce, rest, bound + pack(">I", epoch))
        except (
            KeyError,
            ValueError,
            InvalidTag,
        ):  # No such epoch; not even a nonce left; other bytes.
            return None
        return RecordKey(number, AESGCM(secret), bound)


_nonces: list[bytes] = []
if hasattr(os, "register_at_fork"):  # Else a child would seal with the nonces its parent seals with.
    os.register_at_fork(after_in_child=_nonces.clear)


def _nonce() -> bytes:
    """12 random bytes nobody was given before. Many are drawn at once: each draw lets go of the interpreter's lock."""
    while True:
        try:
            return _nonces.pop()
        except IndexError:
            drawn = os.urandom(NONCE_BYTES * 512)
            _nonces.extend([drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)])


def seal_digest(box: bytes) -> bytes:
    """What binds a ciphertext to the log."""
    return sha256(b"hub/seal/1" + box).digest()
