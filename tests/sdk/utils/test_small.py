"""The helpers that distilabel's users import."""

from __future__ import annotations

from distilmq.steps import Step, StepInput, StepOutput
from distilmq.utils.dicts import flatten_dict, group_dicts, merge_dicts
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
