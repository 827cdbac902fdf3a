"""First start: the installation's ids, its house record, and the proof that these keys belong to this database."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Connection

from hub import clock
from hub.database import connect
from hub.errors import WrongKeys
from hub.events import RecordId
from hub.events.base import uuid_text
from hub.keys import KeyFile
from hub.texts import say
from hub.vault import Vault

KEY_FILE = "keys.json"


@dataclass(frozen=True)
class Installation:
    """Who this hub is, since when, and its keys."""

    tenant: str
    house: RecordId
    since: datetime
    keys: KeyFile


def installation(url: str, data: Path, place: str = "HUB_DATABASE_URL") -> Installation:
    """Read the installation, or make it at the first start. `place` says where the database lies.

    Raises WrongKeys before anything is written under a wrong key.
    """
    with connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('hub.installation', 0))")
        row = connection.execute(
            "SELECT tenant::text, house::text, created_at, receipt_check, fingerprint_check FROM installation"
        ).fetchone()
        keys = KeyFile.load_or_make(data / KEY_FILE, may_make=row is None, place=place)
        if row is None:
            return _first_start(connection, keys)
        tenant, house, since, receipt_check, fingerprint_check = row
        checks = [(keys.receipt, receipt_check), (keys.fingerprint, fingerprint_check)]
        for epoch, check in connection.execute("SELECT epoch, check_value FROM kek_epoch WHERE destroyed_at IS NULL"):
            checks.append((keys.key_encryption.get(epoch, b""), check))
        if not all(hmac.compare_digest(keys.check_value(key), bytes(check)) for key, check in checks):
            held = "HUB_KEYS" if os.environ.get("HUB_KEYS") else data / KEY_FILE
            raise WrongKeys(say("keys_wrong", keys=held, place=place))
    return Installation(tenant, house, since, keys)


def _first_start(connection: Connection[Any], keys: KeyFile) -> Installation:
    tenant, house = uuid_text(clock.fresh_id()), uuid_text(clock.fresh_id())
    row = connection.execute(
        "INSERT INTO installation (tenant, house, receipt_check, fingerprint_check) VALUES (%s, %s, %s, %s)"
        " RETURNING created_at",
        (tenant, house, keys.check_value(keys.receipt), keys.check_value(keys.fingerprint)),
    ).fetchone()
    assert row is not None
    for epoch, key in keys.key_encryption.items():
        connection.execute("INSERT INTO kek_epoch VALUES (%s, %s)", (epoch, keys.check_value(key)))
    own = Vault(keys, tenant).make(house)
    connection.execute(
        "INSERT INTO record_key (record, class, key, epoch, wrapped) VALUES (%s, 0, %s, %s, %s)",
        (house, own.number, own.epoch, own.wrapped),
    )
    return Installation(tenant, house, row[0], keys)
