"""What is remembered of rare events is never older than the snapshot that recalls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.subject import membership_of
from hub.wiring import Hub
from tests.support.hubs import identify, merge, source, touch, unmerge


@pytest.fixture
def two(database_url: str, tmp_path: Path) -> Iterator[tuple[Hub, Hub]]:
    """Two hubs on one database, as two processes would be."""
    with Hub(database_url, tmp_path) as one, Hub(database_url, tmp_path) as other:
        one.do(source())
        yield one, other


def test_a_merge_by_another_process_is_seen_at_once(two: tuple[Hub, Hub]) -> None:
    one, other = two
    ann, bob = (one.do(identify(key))["record"] for key in ("ann", "bob"))
    for _ in range(2):
        assert one.do(touch("bob"))["members"] == [bob]  # Remembered from here on.
    merged = other.do(merge(ann, bob))
    assert one.do(touch("bob"))["members"] == [ann, bob]
    other.do(unmerge(merge=merged["events"][0]["event"]))
    assert one.do(touch("bob"))["members"] == [bob]


def test_a_record_opened_by_another_process_is_not_opened_again(two: tuple[Hub, Hub]) -> None:
    one, other = two
    one.do(touch("ann"))
    opened = other.do(touch("bob"))["record"]
    assert one.do(touch("bob"))["record"] == opened


def test_a_source_restated_by_another_process_counts_for_the_next_record(two: tuple[Hub, Hub]) -> None:
    one, other = two
    one.do(touch("ann"))
    other.do(source(party="organisation"))
    position = one.do(touch("bob"))["position"]
    with one.questions.connection() as connection:
        opening = one.reader.after(connection, position - 2, 1)[0]
    assert getattr(opening.event, "party", None) == "organisation"


def test_an_older_snapshot_recalls_nothing_newer(two: tuple[Hub, Hub]) -> None:
    one, other = two
    ann, bob = (one.do(identify(key))["record"] for key in ("ann", "bob"))
    with one._snapshots() as connection:
        before = one.reader.snapshot(connection)
        other.do(merge(ann, bob))
        assert one.do(touch("bob"))["members"] == [ann, bob]
        scope = membership_of(bob)
        before.read([scope])
        assert list(before.of(scope)) == []
