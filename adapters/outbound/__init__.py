"""The feed out: events of the log as CloudEvents to destinations, in order and at least once; see docs/feed.md."""
