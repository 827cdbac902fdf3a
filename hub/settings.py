"""Settings: all of them are environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hub.errors import Misconfigured
from hub.texts import say


@dataclass(frozen=True)
class Settings:
    """What an operator may choose."""

    data: Path  # HUB_DATA: keys, logs and, where embedded, the database
    database_url: str | None  # HUB_DATABASE_URL: a PostgreSQL of one's own instead of the embedded one
    host: str  # HUB_LISTEN
    port: int
    region: str  # HUB_REGION: the country of phone numbers told without one

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Raises Misconfigured, naming the variable and the fix."""
        env = os.environ if environment is None else environment
        listen = env.get("HUB_LISTEN") or "127.0.0.1:8080"
        host, _, port = listen.rpartition(":")
        if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
            raise Misconfigured(say("listen_form"))
        region = env.get("HUB_REGION") or "RU"
        if not is_region(region):
            raise Misconfigured(say("region"))
        return cls(
            Path(env.get("HUB_DATA") or ".hub").absolute(),
            env.get("HUB_DATABASE_URL") or None,
            host.strip("[]"),
            int(port),
            region,
        )


def is_region(code: str) -> bool:
    """Whether phone numbers of this country are known."""
    if code == "RU":
        return True
    import phonenumbers  # It takes a while to load, and is seldom asked.

    return code in phonenumbers.SUPPORTED_REGIONS
