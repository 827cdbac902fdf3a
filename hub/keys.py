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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import pack
from threading import Lock
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from hub.errors import Erased, Misconfigured, WrongKeys

KEY_BYTES = 32
NONCE_BYTES = 12
CACHED_KEYS = 200_000  # Some 60 MB when full.


def framed(*parts: bytes) -> bytes:
    """Each part behind its length in 4 big-endian bytes, so that no two lists of parts look alike."""
    return b"".join(pack(">I", len(part)) + part for part in parts)


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
    def parse(cls, text: str) -> KeyFile:
        """Raises Misconfigured when the text is not a key file."""
        try:
            stored = json.loads(text)
            keys = cls(
                {int(epoch): b64decode(key) for epoch, key in stored["key_encryption"].items()},
                b64decode(stored["fingerprint"]),
                b64decode(stored["receipt"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Misconfigured("the key file is damaged; restore it from its backup") from error
        if not keys.key_encryption or any(
            len(key) != KEY_BYTES for key in (*keys.key_encryption.values(), keys.fingerprint, keys.receipt)
        ):
            raise Misconfigured("the key file is damaged; restore it from its backup")
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
    def load_or_make(cls, path: Path, *, may_make: bool) -> KeyFile:
        """The keys in HUB_KEYS, else in the file; made once, when there is no database yet that needs older ones.

        Raises Misconfigured when the file is missing although the database was built with one.
        """
        if text := os.environ.get("HUB_KEYS"):
            return cls.parse(text)
        try:
            return cls.parse(path.read_text())
        except FileNotFoundError:
            if not may_make:
                raise WrongKeys(
                    f"{path} is missing, and the database was built with it; restore it from its backup"
                ) from None
        keys = cls.fresh()
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(keys.text())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # Fails when another process was first; then its keys are the keys.
        except FileExistsError:
            return cls.parse(path.read_text())
        finally:
            fresh.unlink()
        return keys

    def check_value(self, key: bytes) -> bytes:
        """Tells in the database which key belongs to it, without telling the key."""
        return hmac.digest(key, b"hub/check/1", "sha256")


class Fingerprints:
    """Keyed fingerprints: the sealed tags of values, and the keys of receipts."""

    def __init__(self, keys: KeyFile) -> None:
        self._receipt = hmac.new(keys.receipt, digestmod=sha256)
        self._of_kind: dict[str, hmac.HMAC] = {}
        self._root = keys.fingerprint

    def of(self, kind: str, *values: str) -> bytes:
        """HMAC-SHA256 under the kind's own key of the framed values, its first 16 bytes."""
        keyed = self._of_kind.get(kind)
        if keyed is None:
            key = hmac.digest(self._root, b"hub/fingerprint/1/" + kind.encode(), "sha256")
            keyed = self._of_kind[kind] = hmac.new(key, digestmod=sha256)
        fresh = keyed.copy()
        fresh.update(framed(*[value.encode() for value in values]))
        return fresh.digest()[:16]

    def receipt(self, text: bytes) -> bytes:
        fresh = self._receipt.copy()
        fresh.update(text)
        return fresh.digest()


@dataclass(frozen=True, slots=True)
class RecordKey:
    """A record's key in one retention class, ready for use."""

    number: int
    cipher: AESGCM
    wrapped: bytes | None = None  # Only on a key not stored yet.
    epoch: int = 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """A ciphertext as stored, and the digest that stands in the log."""

    record: str
    retention: int
    key: int
    box: bytes
    digest: bytes


class Vault:
    """The keys of records: made once, cached, never made again after destruction. Thread-safe."""

    def __init__(self, keys: KeyFile, tenant: str) -> None:
        self._epoch = max(keys.key_encryption)
        self._wrapping = {epoch: AESGCM(key) for epoch, key in keys.key_encryption.items()}
        self._tenant = framed(_bytes(tenant))
        self._cache: OrderedDict[tuple[str, int], RecordKey] = OrderedDict()
        self._lock = Lock()

    def make(self, record: str, retention: int = 0) -> RecordKey:
        """A fresh key for a record just being opened. The caller stores it with the record's first event."""
        secret = AESGCM.generate_key(256)
        nonce = os.urandom(NONCE_BYTES)
        bound = self._wrap_data(record, retention, self._epoch)
        wrapped = nonce + self._wrapping[self._epoch].encrypt(nonce, secret, bound)
        return RecordKey(1, AESGCM(secret), wrapped, self._epoch)

    def remember(self, record: str, key: RecordKey, retention: int = 0) -> None:
        """Cache a key whose row is committed."""
        with self._lock:
            self._cache[record, retention] = RecordKey(key.number, key.cipher)
            if len(self._cache) > CACHED_KEYS:
                self._cache.popitem(last=False)

    def forget(self, record: str) -> None:
        with self._lock:
            for cached in [each for each in self._cache if each[0] == record]:
                del self._cache[cached]

    def keys_of(self, connection: Connection[Any], records: Iterable[str], retention: int = 0) -> dict[str, RecordKey]:
        """The newest key of each record; a record without one is absent, one whose key was destroyed too."""
        found: dict[str, RecordKey] = {}
        missing: list[str] = []
        with self._lock:
            for record in records:
                key = self._cache.get((record, retention))
                if key is None:
                    missing.append(record)
                else:
                    found[record] = key
        if missing:
            rows = connection.execute(
                "SELECT record::text, key, epoch, wrapped FROM hub.record_key"
                " WHERE record = ANY(%s::uuid[]) AND class = %s AND wrapped IS NOT NULL ORDER BY key",
                (missing, retention),
                binary=True,
            )
            for record, number, epoch, wrapped in rows:
                found[record] = key = RecordKey(number, self._unwrap(record, retention, epoch, wrapped))
                self.remember(record, key, retention)
        return found

    def seal(
        self, key: RecordKey, record: str, event: bytes, n: int, content: Mapping[str, Any], retention: int = 0
    ) -> Sealed:
        """Encrypt what belongs to `record`, bound to its event and its place in it. `content` is any JSON object."""
        nonce = os.urandom(NONCE_BYTES)
        plain = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        box = nonce + key.cipher.encrypt(nonce, plain, self._seal_data(record, retention, event, n, key.number))
        return Sealed(record, retention, key.number, box, seal_digest(box))

    def open(self, key: RecordKey, record: str, event: bytes, n: int, box: bytes, retention: int = 0) -> dict[str, Any]:
        """Decrypt a seal. Raises cryptography's InvalidTag when box, event or place do not belong together."""
        bound = self._seal_data(record, retention, event, n, key.number)
        opened: dict[str, Any] = orjson.loads(key.cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], bound))
        return opened

    def _unwrap(self, record: str, retention: int, epoch: int, wrapped: bytes) -> AESGCM:
        wrapping = self._wrapping.get(epoch)
        if wrapping is None:
            raise Erased
        bound = self._wrap_data(record, retention, epoch)
        return AESGCM(wrapping.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound))

    def _wrap_data(self, record: str, retention: int, epoch: int) -> bytes:
        return self._tenant + _bytes(record) + pack(">HI", retention, epoch)

    def _seal_data(self, record: str, retention: int, event: bytes, n: int, key: int) -> bytes:
        return self._tenant + _bytes(record) + pack(">H", retention) + event + pack(">HI", n, key)


def seal_digest(box: bytes) -> bytes:
    """What binds a ciphertext to the log."""
    return sha256(b"hub/seal/1" + box).digest()


def _bytes(uuid: str) -> bytes:
    return bytes.fromhex(uuid.replace("-", ""))
