"""Keys: what the log may not hold in clear is sealed, fingerprinted or receipted under these.

    key file (0600, or the environment; never in the database)
      ├─ key-encryption keys, one an epoch ── wrap ── one random key a (record, retention class) ── seals
      ├─ fingerprint key ── HMAC by kind ── one key an identifier kind ── sealed tags
      └─ receipt key, never rotated ── HMACs of idempotency ids and command bodies

AES-256-GCM with random 96-bit nonces (NIST SP 800-38D): a record's key seals few messages, far below the 2^32 bound.
Keys of records are random, not derived: whoever holds the root could make a derived key again after its destruction.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct, pack
from threading import Lock
from typing import Any, NamedTuple

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from hub.errors import Misconfigured, WrongKeys
from hub.texts import say

KEY_BYTES = 32
NONCE_BYTES = 12
CACHED_KEYS = 200_000  # Some 60 MB when full.

_LENGTH = Struct(">I").pack
_PLACE = Struct(">HI").pack


def framed(*parts: bytes) -> bytes:
    """Each part behind its length in 4 big-endian bytes, so that no two lists of parts look alike."""
    return b"".join([_LENGTH(len(part)) + part for part in parts])


@dataclass(frozen=True)
class KeyFile:
    """The hub's own secrets, outside the database."""

    key_encryption: Mapping[int, bytes]  # epoch -> key; the highest wraps new keys
    fingerprint: bytes
    receipt: bytes

    @classmethod
    def fresh(cls) -> KeyFile:
        return cls({1: secrets.token_bytes(KEY_BYTES)}, secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES))

    @classmethod
    def parse(cls, text: str, place: str | Path = "HUB_KEYS") -> KeyFile:
        """Raises Misconfigured when the text is not a key file."""
        try:
            stored = json.loads(text)
            keys = cls(
                {int(epoch): b64decode(key) for epoch, key in stored["key_encryption"].items()},
                b64decode(stored["fingerprint"]),
                b64decode(stored["receipt"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Misconfigured(say("keys_damaged", keys=place)) from error
        if not keys.key_encryption or any(
            len(key) != KEY_BYTES for key in (*keys.key_encryption.values(), keys.fingerprint, keys.receipt)
        ):
            raise Misconfigured(say("keys_damaged", keys=place))
        return keys

    def text(self) -> str:
        return json.dumps(
            {
                "key_encryption": {str(e): b64encode(key).decode() for e, key in self.key_encryption.items()},
                "fingerprint": b64encode(self.fingerprint).decode(),
                "receipt": b64encode(self.receipt).decode(),
            },
            indent=1,
        )

    @classmethod
    def load_or_make(cls, path: Path, *, may_make: bool, place: str = "HUB_DATABASE_URL") -> KeyFile:
        """The keys in HUB_KEYS, else in the file; made once, when there is no database yet that needs older ones.

        Raises WrongKeys when the file is missing although the database, which lies in `place`, was built with one.
        """
        if text := os.environ.get("HUB_KEYS"):
            return cls.parse(text)
        try:
            return cls.parse(path.read_text(), path)
        except FileNotFoundError:
            if not may_make:
                raise WrongKeys(say("keys_missing", file=path, place=place)) from None
        keys = cls.fresh()
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(keys.text())
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # Another process was first; then its keys are the keys.
                os.link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        _sync_folder(path.parent)
        return cls.parse(path.read_text(), path)

    def check_value(self, key: bytes) -> bytes:
        """Tells in the database which key belongs to it, without telling the key."""
        return hmac.digest(key, b"hub/check/1", "sha256")


class Fingerprints:
    """Keyed fingerprints: the sealed tags of values, and the keys of receipts."""

    def __init__(self, keys: KeyFile) -> None:
        self._receipt = _Keyed(keys.receipt)
        self._of_kind: dict[str, _Keyed] = {}
        self._root = keys.fingerprint

    def of(self, kind: str, *values: str) -> bytes:
        """HMAC-SHA256 under the kind's own key of the framed values, its first 16 bytes."""
        keyed = self._of_kind.get(kind)
        if keyed is None:
            key = hmac.digest(self._root, b"hub/fingerprint/1/" + kind.encode(), "sha256")
            keyed = self._of_kind[kind] = _Keyed(key)
        return keyed.digest(framed(*[value.encode() for value in values]))[:16]

    def receipt(self, text: bytes) -> bytes:
        return self._receipt.digest(text)


class _Keyed:
    """HMAC-SHA256 (RFC 2104) with the key's two blocks hashed once; half the time of doing so for every message."""

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


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
        self._tenant = framed(_bytes(tenant))
        self._cache: OrderedDict[tuple[str, int], tuple[RecordKey, ...]] = OrderedDict()  # By number.
        self._lock = Lock()

    def make(self, record: str, retention: int = 0) -> RecordKey:
        """A fresh key for a record just being opened. The caller stores it with the record's first event."""
        secret = AESGCM.generate_key(256)
        nonce = _nonce()
        bound = self._tenant + _bytes(record) + pack(">H", retention)
        wrapped = nonce + self._wrapping[self._epoch].encrypt(nonce, secret, bound + pack(">I", self._epoch))
        return RecordKey(1, AESGCM(secret), bound, wrapped, self._epoch)

    def remember(self, record: str, key: RecordKey, retention: int = 0) -> None:
        """Cache a key whose row is committed; it is the newest then."""
        with self._lock:
            older = [each for each in self._cache.get((record, retention), ()) if each.number < key.number]
            self._keep((record, retention), (*older, RecordKey(key.number, key.cipher, key.bound)))

    def keys_of(self, connection: Connection[Any], records: Iterable[str], retention: int = 0) -> dict[str, RecordKey]:
        """The newest key of each record, to seal with; a record without one is absent, one whose key was destroyed too.

        Another process may have stored a newer one since; both are good.
        """
        wanted = [(record, retention) for record in records]
        with self._lock:
            known = {each[0]: keys[-1] for each in wanted if (keys := self._cache.get(each))}
        missing = [each for each in wanted if each[0] not in known]
        known.update((record, keys[-1]) for (record, _), keys in self._read(connection, missing).items())
        return known

    def keys_named(self, connection: Connection[Any], names: Collection[KeyName]) -> dict[KeyName, RecordKey]:
        """The very keys these seals were made under; one that was destroyed is absent."""
        with self._lock:
            found = {name: key for name in names for key in self._cache.get(name[:2], ()) if key.number == name[2]}
        if missing := [name for name in names if name not in found]:
            read = self._read(connection, {name[:2] for name in missing})
            found |= {name: key for name in missing for key in read.get(name[:2], ()) if key.number == name[2]}
        return found

    def _read(
        self, connection: Connection[Any], wanted: Collection[tuple[str, int]]
    ) -> dict[tuple[str, int], tuple[RecordKey, ...]]:
        """All keys there are of these records and classes; cached from now on."""
        if not wanted:
            return {}
        rows = connection.execute(
            "SELECT record::text, class, key, epoch, wrapped FROM hub.record_key"
            " JOIN unnest(%s::uuid[], %s::smallint[]) AS wanted (record, class) USING (record, class)"
            " WHERE wrapped IS NOT NULL ORDER BY key",
            ([record for record, _ in wanted], [retention for _, retention in wanted]),
            binary=True,
        )
        found: dict[tuple[str, int], tuple[RecordKey, ...]] = {}
        for record, retention, number, epoch, wrapped in rows:
            if epoch in self._wrapping:  # Else its epoch's key was destroyed, and it with it.
                key = self._unwrap(record, retention, number, epoch, wrapped)
                found[record, retention] = (*found.get((record, retention), ()), key)
        with self._lock:
            for each, keys in found.items():
                self._keep(each, keys)
        return found

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
        """Decrypt a seal. Raises cryptography's InvalidTag when box, event or place do not belong together."""
        bound = key.bound + event + _PLACE(n, key.number)
        opened: dict[str, Any] = orjson.loads(key.cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], bound))
        return opened

    def _unwrap(self, record: str, retention: int, number: int, epoch: int, wrapped: bytes) -> RecordKey:
        bound = self._tenant + _bytes(record) + pack(">H", retention)
        nonce, rest = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        secret = self._wrapping[epoch].decrypt(nonce, rest, bound + pack(">I", epoch))
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


def _sync_folder(folder: Path) -> None:
    """Make what was linked in this folder outlast a power failure."""
    if os.name != "posix":  # Elsewhere a folder cannot be opened.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bytes(uuid: str) -> bytes:
    return bytes.fromhex(uuid.replace("-", ""))
