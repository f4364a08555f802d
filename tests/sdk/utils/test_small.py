"""The helpers that distilabel's users import."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from distilmq.steps import Step, StepInput, StepOutput
from distilmq.utils.chat import is_openai_format
from distilmq.utils.dicts import flatten_dict, group_dicts, merge_dicts
from distilmq.utils.image import image_from_str, image_to_str
from distilmq.utils.lists import flatten_list
from distilmq.utils.requirements import requirements


@requirements(["nltk>=3.8"])
class Count(Step):
    def process(self, inputs: StepInput) -> StepOutput:
        yield inputs


@requirements(["torch"])
class CountFast(Count):
    pass


def test_requirements_of_a_class_are_added_to_those_of_its_bases() -> None:
    assert (Count.requirements, CountFast.requirements) == (["nltk>=3.8"], ["nltk>=3.8", "torch"])  # type: ignore[attr-defined]
    assert Count(name="count").requirements == ["nltk>=3.8"]  # type: ignore[attr-defined]


def test_dicts_are_grouped_and_merged() -> None:
    assert group_dicts({"a": 1}, {"a": 2, "b": [3]}) == {"a": [1, 2], "b": [[3]]}
    assert group_dicts({"a": [1]}, {"a": [2]}, flatten=True) == {"a": [1, 2]}
    assert merge_dicts({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}, "b": 1}
    assert flatten_dict({"a": {"b": 1}, "c": 2}) == {"a": '{"b": 1}', "c": 2}


def test_lists_are_flattened() -> None:
    assert flatten_list([[1], [2, 3]]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ([{"role": "user", "content": "hi"}], True),
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], True),
        ([{"role": "user"}], False),
        ([], False),
        ("hi", False),
        (None, False),
    ],
)
def test_a_conversation_is_a_list_of_messages(value: Any, is_one: bool) -> None:
    assert is_openai_format(value) is is_one


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_an_image_comes_back_from_text(image_format: str) -> None:
    image = Image.new("RGB", (3, 2), "white")

    back = image_from_str(image_to_str(image, image_format))

    assert (back.size, back.convert("RGB").getpixel((1, 1))) == ((3, 2), (255, 255, 255))
