"""Plain data survives JSON and YAML, long lists of rows included."""

from __future__ import annotations

import datetime
import enum
from pathlib import Path
from typing import Any

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.utils.files import from_yaml, holds_plain_rows, read, save, suggested_path, to_yaml

ODD = [
    1e16,
    5e-324,
    -2e22,
    10**30,
    0.1,
    "",
    "~",
    "no",
    "1e5",
    "2026-01-01",
    "a: b # c\n- d",
    "\x00\x7f\x85\u2028\ufeff😀",
    [[]],
    {"": {}},
    {"<<": 1, "=": 2},
    {"a" * 2000: 1},
    {"\x85" * 300: 1},
    [1e16, {"a": 1e300}],
    datetime.datetime(2026, 1, 1),
    b"bytes",
]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("count", [1, 101])
def test_odd_values_survive_yaml(value: Any, count: int) -> None:
    rows = [{"value": value, "number": number} for number in range(count)]

    back = from_yaml(to_yaml({"rows": rows, "after": 1}))

    assert back == {"rows": rows, "after": 1}
    assert type(back["rows"][0]["value"]) is type(value)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    pass


class Share(float):
    pass


@pytest.mark.parametrize("count", [1, 101])
def test_texts_and_numbers_of_other_classes_are_written_as_what_they_are(count: int) -> None:
    row = {"colour": Colour.RED, "level": Level.HIGH, "in": [Text("a"), {Text("b"): Share(0.5)}]}

    back = from_yaml(to_yaml({"rows": [row] * count}))

    assert back == {"rows": [{"colour": "red", "level": 3, "in": ["a", {"b": 0.5}]}] * count}


def test_a_format_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match='`format="json"` or `format="yaml"`, not \'toml\''):
        suggested_path(tmp_path, "toml")  # pyright: ignore[reportArgumentType]  # what is refused

    assert list(tmp_path.iterdir()) == []


def test_many_rows_are_written_a_row_a_line() -> None:
    text = to_yaml({"steps": [{"data": [{"a": number} for number in range(101)]}]})

    assert len(text.splitlines()) == 1 + 1 + 1 + 101


@pytest.mark.parametrize(
    ("items", "plain"),
    [
        ([{"a": 1, "b": [1, {"c": None}]}], True),
        ([], True),
        ([{"a": b"x"}], False),
        ([{"a": [datetime.date(2026, 1, 1)]}], False),
        ([{1: "a"}], False),
        ([{"a": 1, 2: "b"}], False),
        (["a"], False),
        ([{"a": float("nan")}], True),
        ([{"a": "whole \U0001f600"}], True),
        ([{"a": "half \ud83d"}], False),
        ([{"half \ud83d": 1}], False),
        ([{"a": ["half \ud83d"]}], False),
    ],
)
def test_rows_that_json_has_words_for_are_plain(items: list[Any], plain: bool) -> None:
    assert holds_plain_rows(items) is plain


def test_the_suffix_of_a_path_says_how_it_is_written(tmp_path: Path) -> None:
    save({"a": 1}, tmp_path / "new" / "a.yml", "json")

    assert (tmp_path / "new" / "a.yml").read_text() == "a: 1\n"
    assert read(tmp_path / "new" / "a.yml") == {"a": 1}
    assert suggested_path(tmp_path, "json") == tmp_path / "distilmq-file.json"


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    save({"a": 1}, path)

    with pytest.raises(DistilmqUserError, match="has half a character"):
        save({"a": "b\ud83d"}, path)
    assert read(path) == {"a": 1}


def test_what_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")

    with pytest.raises(DistilmqUserError, match="holds no mapping"):
        read(tmp_path / "list.json")
    (tmp_path / "a.txt").touch()
    with pytest.raises(DistilmqUserError, match="must end with one of"):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize(("name", "content"), [("odd.yaml", b"{:"), ("odd.json", b"{"), ("odd.json", b"\xff")])
def test_a_file_that_is_not_what_its_suffix_says_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(DistilmqUserError, match=f"{name}' cannot be read as {name[-4:].upper()}: "):
        read(path)
