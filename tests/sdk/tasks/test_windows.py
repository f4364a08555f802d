"""What `distilmq.steps.tasks` offers, and what it says of names that are not built."""

from __future__ import annotations

import pytest

from distilmq.steps import tasks


@pytest.mark.parametrize("name", tasks.__all__)
def test_every_task_it_lists_can_be_imported(name: str) -> None:
    assert getattr(tasks, name) is not None
    assert name in dir(tasks)


@pytest.mark.parametrize("name", ["UltraFeedback", "EvolInstruct", "Magpie", "TextClassification"])
def test_a_task_that_is_not_built_says_so(name: str) -> None:
    with pytest.raises(ImportError, match=f"distilmq.steps.tasks.{name}' is not in distilmq yet"):
        getattr(tasks, name)


def test_a_task_saved_by_distilabel_loads() -> None:
    dump = {
        "name": "chat",
        "llm": {
            "model": "gpt-4",
            "generation_kwargs": {},
            "type_info": {"module": "distilabel.models.llms.openai", "name": "OpenAILLM"},
        },
        "input_batch_size": 50,
        "group_generations": False,
        "type_info": {"module": "distilabel.steps.tasks.text_generation", "name": "ChatGeneration"},
    }

    task = tasks.Task.from_dict(dump)

    assert isinstance(task, tasks.ChatGeneration)
    assert task.llm.model_name == "gpt-4"
