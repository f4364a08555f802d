"""Docstrings are read in parts."""

from __future__ import annotations

from distilmq.steps import GroupColumns
from distilmq.utils.docstring import described_parameters, parse_google_docstring


def documented(temperature: float, stop: list[str] | None = None) -> None:
    """Says something.

    And then some more.

    Args:
        temperature (float): how bold it is,
            over two lines.
        stop: where it ends: here.

    References:
        - [A paper](https://arxiv.org/abs/2304.12244)
    """


def test_entries_and_texts_are_told_apart() -> None:
    parts = parse_google_docstring(documented)

    assert parts["short_description"] == "Says something."
    assert parts["args"] == {"temperature": "how bold it is, over two lines.", "stop": "where it ends: here."}
    assert parts["references"] == "- [A paper](https://arxiv.org/abs/2304.12244)"


def test_attributes_of_a_class_are_described() -> None:
    assert described_parameters(GroupColumns)["columns"] == "the columns to group."
    assert parse_google_docstring(GroupColumns)["categories"] == "- columns"


def test_what_has_no_docstring_has_no_parts() -> None:
    assert described_parameters(test_what_has_no_docstring_has_no_parts) == {}
