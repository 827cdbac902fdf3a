"""What is hashed and encrypted, computed once more from the documented layout and compared with the stored rows."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from hub.errors import SealDamaged
from hub.keys import KeyFile
from hub.log import wire
from hub.vault import RecordKey, Vault, seal_digest
from hub.wiring import Hub

ID = bytes(range(16))


def lp(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def leaf(id: bytes, type: str, tags: list[str], data: bytes, position: int, recorded_at: int) -> bytes:
    rest = b"hub/event/1" + id + lp(type.encode()) + struct.pack(">H", len(tags))
    rest += b"".join(lp(tag.encode()) for tag in tags) + lp(data)
    return sha256(b"\x00\x01" + struct.pack(">Qq", position, recorded_at) + sha256(rest).digest()).digest()


@pytest.mark.parametrize(
    ("type", "tags", "data", "position", "recorded_at", "vector"),
    [
        ("t", [], b"", 1, 0, "58617e0ef3287fdc9b7f1bf249adc47cc7573a24cf6eb9f65ec38992cf45066f"),
        (
            "touch_recorded",
            ["record:1", "день"],
            b'{"v":1}',
            918,
            1772348400000000,
            "9b928d1185a1d570b39f8429b5d0ca69578e02fe609ec881c5077791f24a9ee9",
        ),
        (
            "x",
            ["", ""],
            b"\0\xff",
            (1 << 63) - 1,
            -1,
            "990bd69e9a060a6a09ff26b4cd92dc206880a8966b1784ccdeea3f98b8c1c0d8",
        ),
    ],
)
def test_a_leaf_is_what_the_layout_says(
    type: str, tags: list[str], data: bytes, position: int, recorded_at: int, vector: str
) -> None:
    row = wire.event_rows(1, recorded_at, position, [wire.prepare(ID, 1, type, tags, data)])
    assert row[-32:].hex() == vector
    assert leaf(ID, type, tags, data, position, recorded_at).hex() == vector


def test_an_open_tag_is_found_by_its_hash() -> None:
    assert wire.tag_of("record:ж") == sha256("record:ж".encode()).digest()[:16]


def test_the_digest_of_a_seal_is_what_the_layout_says() -> None:
    assert seal_digest(b"box") == sha256(b"hub/seal/1box").digest()


@pytest.fixture
def told(database_url: str, tmp_path: Path) -> Hub:
    """A hub that was told something of every kind: clear, sealed, and set aside."""
    with Hub.open(database_url, tmp_path) as hub:
        hub.do({"command": "register_source", "name": "shop", "title": "Лавка"})
        for n in range(3):
            hub.do({
                "command": "record_touch", "source": "shop", "key": f"k{n}", "channel": "call", "direction": "out",
                "facts": {"first_name": "Анна", "city": "Тверь"}, "identifiers": {"phone": "+79161234567"},
                "identifier": {"kind": "email", "value": "nonsense"}, "agent": "Пётр", "correlation": "c 1",
                "content": {"text": "алло"}, "data": {"seconds": 12, "note": "Два слова"},
            })  # fmt: skip
    return hub


def test_every_stored_leaf_can_be_computed_from_its_row(told: Hub, connection: Connection[Any]) -> None:
    rows = connection.execute(
        "SELECT e.id, t.name, e.tags, e.data, e.position, e.recorded_at, e.leaf"
        " FROM event e JOIN event_type t ON t.id = e.type WHERE log = 1 ORDER BY position"
    ).fetchall()
    assert [row[4] for row in rows] == list(range(1, len(rows) + 1))
    for id, type, tags, data, position, recorded_at, stored in rows:
        assert leaf(id.bytes, type, tags, data, position, recorded_at) == stored
        indexed = connection.execute(
            "SELECT tag, type FROM tag WHERE position = %s AND log = 1 AND seal IS NULL", (position,)
        )
        assert {tag.bytes for tag, _ in indexed} == {sha256(tag.encode()).digest()[:16] for tag in tags}


def test_stored_data_are_canonical_json_without_floats(told: Hub, connection: Connection[Any]) -> None:
    def no_floats(text: str) -> None:
        raise AssertionError(text)

    for (data,) in connection.execute("SELECT data FROM event WHERE log = 1"):
        parsed = json.loads(data, parse_float=no_floats)
        again = json.dumps(parsed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        assert again.encode() == data


def test_every_stored_seal_opens_by_the_documented_associated_data(told: Hub, connection: Connection[Any]) -> None:
    installation = told.installation
    tenant = lp(bytes.fromhex(installation.tenant.replace("-", "")))
    kek = AESGCM(installation.keys.key_encryption[1])
    opened = 0
    for record, retention, key, epoch, wrapped, id, n, box, data in connection.execute(
        "SELECT k.record, k.class, k.key, k.epoch, k.wrapped, e.id, s.seal, s.box, e.data FROM seal s"
        " JOIN record_key k USING (record, class, key) JOIN event e USING (log, position)"
    ):
        bound = tenant + record.bytes + struct.pack(">HI", retention, epoch)
        secret = kek.decrypt(wrapped[:12], wrapped[12:], bound)
        bound = tenant + record.bytes + struct.pack(">H", retention) + id.bytes + struct.pack(">HI", n, key)
        assert isinstance(json.loads(AESGCM(secret).decrypt(box[:12], box[12:], bound)), dict)
        (pointer,) = [each for each in json.loads(data)["seals"] if each["n"] == n]
        assert pointer == {
            "n": n, "record": str(record), "class": retention, "digest": sha256(b"hub/seal/1" + box).hexdigest()
        }  # fmt: skip
        opened += 1
    assert opened > 5


def test_a_seal_opens_only_where_it_belongs() -> None:
    record, other = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
    vault = Vault(KeyFile.fresh(), other)
    key = vault.make(record)
    sealed = vault.seal(key, record, ID, 0, {"a": 1})
    assert vault.open(key, ID, 0, sealed.box) == {"a": 1}
    elsewhere = Vault(KeyFile.fresh(), record)
    wrong: list[tuple[RecordKey, bytes, int, bytes]] = [
        (replace(key, bound=vault.make(other).bound), ID, 0, sealed.box),  # another record, retention class, tenant
        (replace(key, bound=vault.make(record, 1).bound), ID, 0, sealed.box),
        (replace(key, bound=elsewhere.make(record).bound), ID, 0, sealed.box),
        (key, ID[::-1], 0, sealed.box),
        (key, ID, 1, sealed.box),
        (key, ID, 0, sealed.box[:-1] + bytes([sealed.box[-1] ^ 1])),
    ]
    for arguments in wrong:
        with pytest.raises(SealDamaged):
            vault.open(*arguments)
