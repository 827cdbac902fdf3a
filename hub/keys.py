"""Keys: what the log may not hold in clear is sealed, fingerprinted or receipted under these.

key file (0600, or the environment; never in the database)
  ├─ key-encryption keys, one an epoch ── wrap ── one random key a (record, retention class) ── seals: hub/vault.py
  ├─ fingerprint key ── HMAC by kind ── one key an identifier kind ── sealed tags
  └─ receipt key, never rotated ── HMACs of idempotency ids and command bodies
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct

from hub.errors import Misconfigured, WrongKeys
from hub.texts import say

KEY_BYTES = 32

_LENGTH = Struct(">I").pack


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


def _sync_folder(folder: Path) -> None:
    """Make what was linked in this folder outlast a power failure."""
    if os.name != "posix":  # Elsewhere a folder cannot be opened.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
