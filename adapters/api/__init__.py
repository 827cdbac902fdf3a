"""The hub over HTTP."""

from adapters.api.app import create_app

__all__ = ["create_app"]
