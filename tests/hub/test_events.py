"""Stored events are for ever: each shape that ever shipped has an example in golden/events, kept to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hub.events import VOCABULARY, Envelope, Event, Instant, Vocabulary, encode
from hub.events.base import UnknownShape
from hub.log import wire

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "events").glob("*.json"))
HINT = "an example of a shape that shipped is never changed; a new shape gets a version, an upcast and an example"


def example(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_was_stored_is_read_as_it_was_meant(path: Path) -> None:
    golden = example(path)
    event, envelope, seals = VOCABULARY.decode(golden["type"], golden["data"].encode())
    said = event.model_dump(mode="json")
    assert {name: said[name] for name in golden["event"]} == golden["event"], HINT
    assert json.loads(json.dumps(envelope._asdict())) == golden["envelope"]
    assert [list(each) for each in seals] == golden["seals"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_is_stored_today_is_the_same_to_the_byte(path: Path) -> None:
    golden = example(path)
    kind = VOCABULARY.types[golden["type"]]
    if kind.schema_version != golden["schema"]:
        pytest.skip("an older shape; nobody writes it any more")
    event, envelope, seals = VOCABULARY.decode(golden["type"], golden["data"].encode())
    assert encode(event, envelope, seals).decode() == golden["data"], HINT
    assert list(event.tags()) == golden["tags"], HINT
    inner = wire.inner_hash(bytes(range(16)), golden["type"], golden["tags"], golden["data"].encode())
    assert inner.hex() == golden["inner"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_body_is_what_the_model_dumps_without_its_defaults(path: Path) -> None:
    golden = example(path)
    event, envelope, seals = VOCABULARY.decode(golden["type"], golden["data"].encode())
    for said in (event, event.model_copy(), type(event)(**dict(event))):  # With and without the defaults as given.
        stored = json.loads(encode(said, envelope, seals))
        assert stored["body"] == json.loads(json.dumps(event.model_dump(exclude_defaults=True)))


def test_every_shape_that_can_be_stored_has_an_example() -> None:
    shown = {(golden["type"], golden["schema"]) for golden in map(example, GOLDEN)}
    needed = {
        (name, version) for name, kind in VOCABULARY.types.items() for version in range(1, kind.schema_version + 1)
    }
    assert needed == shown


def test_the_examples_say_something_in_every_field() -> None:
    for name, kind in VOCABULARY.types.items():
        examples = [example(path)["data"] for path in GOLDEN if example(path)["type"] == name]
        bodies = [json.loads(data)["body"] for data in examples]
        assert set().union(*bodies) == set(kind.model_fields), name


def test_names_in_the_log_are_no_class_paths() -> None:
    assert all(
        name == kind.stored_name and name.islower() and "." not in name for name, kind in VOCABULARY.types.items()
    )


class ShelfFilled(Event):
    """Its third shape: `height` was `size` in the second, and `shelf` was a number in the first."""

    schema_version: ClassVar[int] = 3
    shelf: str
    height: int = 1

    def tags(self) -> tuple[str, ...]:
        return (f"shelf:{self.shelf}",)


private = Vocabulary.of(
    ShelfFilled,
    upcasts={
        ("shelf_filled", 1): lambda body: body | {"shelf": str(body["shelf"])},
        ("shelf_filled", 2): lambda body: {"shelf": body["shelf"], "height": body.get("size", 1)},
    },
)


def stored(schema: int, body: dict[str, Any], v: int = 1) -> bytes:
    envelope = {"v": v, "schema": schema, "occurred_at": 5, "principal": "p", "role": "local"}
    return json.dumps(envelope | {"body": body}).encode()


@pytest.mark.parametrize(
    ("schema", "body"),
    [(1, {"shelf": 7, "size": 2}), (2, {"shelf": "7", "size": 2}), (3, {"shelf": "7", "height": 2})],
)
def test_older_shapes_are_lifted_one_version_at_a_time(schema: int, body: dict[str, Any]) -> None:
    event, envelope, _ = private.decode("shelf_filled", stored(schema, body))
    assert event == ShelfFilled(shelf="7", height=2)
    assert envelope == Envelope(Instant(5), "p", "local")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("shelf_filled", stored(4, {"shelf": "7"})),
        ("shelf_emptied", stored(1, {})),
        ("shelf_filled", stored(3, {"shelf": "7"}, v=2)),
    ],
)
def test_a_shape_from_a_later_release_is_told_and_not_guessed(name: str, data: bytes) -> None:
    with pytest.raises(UnknownShape):
        private.decode(name, data)


def test_a_default_is_not_stored() -> None:
    assert b"height" not in encode(ShelfFilled(shelf="7", height=1), Envelope(Instant(5), "p", "local"))
