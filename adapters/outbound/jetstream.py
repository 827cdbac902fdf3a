"""NATS JetStream: a page of messages is under way at once, and what the stream acknowledged of it counts.

The event's id is the message's, by which the stream knows a message that it has already. The client runs in a thread of
its own, so that it answers the server also while nothing is sent. Acknowledgements are taken here, since the client's
own `publish_async` never ends for a message that the stream refuses.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error, MaxPayloadError
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from adapters.outbound.address import resolved
from adapters.outbound.carrier import Failure
from adapters.outbound.destinations import Destination
from adapters.outbound.envelope import Message

CONNECT = 5  # Seconds.
ACKNOWLEDGED = 10.0  # Seconds for a page.
DOUBLES = 10 * 60.0  # Seconds that a stream made here knows a message again.
HEADERS = 100  # Bytes of a message's headers at most, without the name of the stream.
TAKEN = ""
TOO_LARGE = "too_large"
EXCEEDS = 10054  # JSStreamMessageExceedsMaximumErr of github.com/nats-io/nats-server/blob/main/server/errors.json


class JetStream:
    """Publishes under `<subject>.<type of event>`."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._client: Client | None = None
        self._inbox = ""
        self._page = 0
        self._told: list[str | None] = []  # Of each message of the page TAKEN, or why not, or nothing yet.
        self._left = 0
        self._over = asyncio.Event()  # All are told, or the connection is lost.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"hub-feed-{destination.name}-nats", daemon=True)
        self._thread.start()

    def carry(self, messages: Sequence[Message]) -> int:
        return asyncio.run_coroutine_threadsafe(self._carry(messages), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _carry(self, messages: Sequence[Message]) -> int:
        code = "unreachable"
        self._page += 1
        self._told, self._left = [None] * len(messages), len(messages)
        self._over.clear()
        try:
            async with asyncio.timeout(2 * CONNECT):
                client = await self._connected()
            code = "timeout"
            async with asyncio.timeout(ACKNOWLEDGED):
                await self._publish(client, messages)
                await self._over.wait()
        except MaxPayloadError:
            code = TOO_LARGE
        except NotFoundError:
            code = "no_stream"
        except _InTheClear:
            code = "not_encrypted"
        except ssl.SSLCertVerificationError:
            code = "certificate"
        except (OSError, Error) as error:  # A TimeoutError and an SSLError are OSErrors.
            if "authorization" in str(error).lower():
                code = "not_allowed"
        count = next((n for n, told in enumerate(self._told) if told != TAKEN), len(messages))
        if not count:
            code = self._told[0] or code
        if count < len(messages) and code != TOO_LARGE:
            await self._close()
        if not count:
            raise Failure(code, refused=code == TOO_LARGE)
        return count

    async def _publish(self, client: Client, messages: Sequence[Message]) -> None:
        to, reply = self._to, f"{self._inbox}.{self._page}"
        for n, each in enumerate(messages):
            if len(each.data) + len(to.stream) + HEADERS > client.max_payload:  # Else the server hangs up.
                if not n:
                    raise MaxPayloadError
                self._left -= len(messages) - n
                if not self._left:
                    self._over.set()
                return  # It comes first in the next page.
            headers = {"Nats-Msg-Id": each.id, "Nats-Expected-Stream": to.stream}
            await client.publish(f"{to.subject}.{each.type}", each.data, f"{reply}.{n}", headers)

    async def _answered(self, message: Msg) -> None:
        _, page, n = message.subject.rsplit(".", 2)
        if int(page) != self._page or self._told[int(n)] is not None:
            return
        if message.headers:  # Of no stream that would listen there, status 503.
            self._told[int(n)] = "no_stream"
        elif error := orjson.loads(message.data).get("error"):
            self._told[int(n)] = TOO_LARGE if error.get("err_code") == EXCEEDS else "not_taken"
        else:
            self._told[int(n)] = TAKEN
        self._left -= 1
        if not self._left:
            self._over.set()

    async def _lost(self) -> None:
        self._over.set()

    async def _connected(self) -> Client:
        if self._client is not None and self._client.is_connected:
            return self._client
        await self._close()
        to, host = self._to, str(self._to.url.hostname)
        addresses = await asyncio.to_thread(resolved, host, to.port, private=to.private, encrypted=to.encrypted)
        client = self._client = _Encrypted() if to.encrypted else Client()  # To be closed even if it does not get in.
        await client.connect(
            [f"{to.url.scheme}://{f'[{each}]' if ':' in each else each}:{to.port}" for each in addresses],
            name="hub",
            token=to.secrets[0].decode() if to.secrets else None,
            tls=ssl.create_default_context(cafile=to.ca),  # For nats://, too: its server may ask for it.
            tls_hostname=host,
            connect_timeout=CONNECT,
            allow_reconnect=False,  # Who sends says when.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            dont_randomize=True,
            error_cb=_nothing,
            disconnected_cb=self._lost,
        )
        self._inbox = client.new_inbox()
        streams = client.jetstream()
        try:
            await streams.stream_info(to.stream)
        except NotFoundError:
            if not to.create:
                raise
            subjects = [f"{to.subject}.>"]
            await streams.add_stream(StreamConfig(name=to.stream, subjects=subjects, duplicate_window=DOUBLES))
        await client.subscribe(f"{self._inbox}.*.*", cb=self._answered)
        return client

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # It is let go of, in whatever state it is.
                async with asyncio.timeout(CONNECT):
                    await client.close()


class _InTheClear(Error):
    """The server does not ask for TLS."""


class _Encrypted(Client):
    """The library itself goes on in the clear, token and all, where the server does not ask for TLS."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and not info.get("tls_required"):
            raise _InTheClear
        await super()._process_info(info, initial_connection)


async def _nothing(_: Exception) -> None:
    """What fails is raised where it is asked for; the client would write it to the log, with where it was."""
