"""Old shapes of events, lifted to today's when read: (stored name, from schema version) -> body -> body."""

from hub.events.base import Upcast

UPCASTS: dict[tuple[str, int], Upcast] = {}
