"""The customer-data hub. `from hub import Hub` is all a Python caller needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.wiring import Hub

__all__ = ["Hub"]


def __getattr__(name: str) -> Any:
    if name == "Hub":
        from hub.wiring import Hub

        return Hub
    raise AttributeError(name)
