"""Settings: all of them are environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from hub.attributes import CONFIRM_AFTER, is_attribute
from hub.errors import Misconfigured
from hub.texts import say

RATE = 5_000  # A process on two cores does some 3,500 commands a second: a guard, no brake.


@dataclass(frozen=True)
class Periods:
    """How long things keep, in days."""

    # HUB_CONFIRM_AFTER, by attribute; one that is not listed does not age
    confirm_after: Mapping[str, int] = field(default_factory=lambda: CONFIRM_AFTER)
    quarantine: int = 90  # HUB_QUARANTINE_DAYS: what nobody repairs is let go then

    @classmethod
    def told(cls, confirm_after: str | None, quarantine: str | None) -> Periods:
        """Raises Misconfigured."""
        periods = cls()
        if confirm_after:
            told = dict(part.strip().partition("=")[::2] for part in confirm_after.split(","))
            if not all(is_attribute(name) and _is_days(days) for name, days in told.items()):
                raise Misconfigured(say("confirm_after"))
            days = {**CONFIRM_AFTER, **{name: int(days) for name, days in told.items()}}
            periods = replace(periods, confirm_after={name: each for name, each in days.items() if each})
        if quarantine:
            if not _is_days(quarantine) or not int(quarantine):
                raise Misconfigured(say("quarantine_days"))
            periods = replace(periods, quarantine=int(quarantine))
        return periods


USUAL = Periods()


@dataclass(frozen=True)
class Settings:
    """What an operator may choose."""

    data: Path  # HUB_DATA: keys, logs and, where embedded, the database
    database_url: str | None  # HUB_DATABASE_URL: a PostgreSQL of one's own instead of the embedded one
    host: str  # HUB_LISTEN
    port: int
    region: str  # HUB_REGION: the country of phone numbers told without one
    periods: Periods
    rate: int  # HUB_RATE: requests and lines of batches a second, for each principal
    zone: ZoneInfo  # HUB_TIME_ZONE: whose clock nightly jobs follow
    feeds: Path  # HUB_FEEDS: where the log is sent to, if there is such a file
    channels: Path  # HUB_CHANNELS: the doors for foreign services, if there is such a file

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
        rate = env.get("HUB_RATE") or str(RATE)
        if not re.fullmatch("[1-9][0-9]{0,6}", rate):
            raise Misconfigured(say("rate_form"))
        try:
            zone = ZoneInfo(env.get("HUB_TIME_ZONE") or "UTC")
        except (KeyError, ValueError, OSError):  # Unknown, no name at all, or that of a folder.
            raise Misconfigured(say("time_zone")) from None
        data = Path(env.get("HUB_DATA") or ".hub").absolute()
        return cls(
            data,
            env.get("HUB_DATABASE_URL") or None,
            host.strip("[]"),
            int(port),
            region,
            Periods.told(env.get("HUB_CONFIRM_AFTER"), env.get("HUB_QUARANTINE_DAYS")),
            int(rate),
            zone,
            Path(env.get("HUB_FEEDS") or data / "feeds.toml").absolute(),
            Path(env.get("HUB_CHANNELS") or data / "channels.toml").absolute(),
        )


def _is_days(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= 36_500


def is_region(code: str) -> bool:
    """Whether phone numbers of this country are known."""
    if code == "RU":
        return True
    import phonenumbers  # It takes a while to load, and is seldom asked.

    return code in phonenumbers.SUPPORTED_REGIONS
