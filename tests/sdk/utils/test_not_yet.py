"""What scripts import from distilabel is there under the same path, or says that it is not built yet."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

BUILT = {
    "distilmq": ["__version__"],
    "distilmq.distiset": ["Distiset"],
    "distilmq.llms": ["LLM", "AsyncLLM", "OpenAILLM"],
    "distilmq.mixins.runtime_parameters": ["RuntimeParameter", "RuntimeParametersMixin"],
    "distilmq.models.llms.base": ["LLM", "AsyncLLM"],
    "distilmq.pipeline": ["Pipeline", "routing_batch_function", "sample_n_steps"],
    "distilmq.pipeline.local": ["Pipeline"],
    "distilmq.pipeline.routing_batch_function": ["RoutingBatchFunction", "routing_batch_function", "sample_n_steps"],
    "distilmq.steps.columns.utils": ["group_columns", "merge_columns"],
    "distilmq.steps.tasks.base": ["GeneratorTask", "GlobalTask", "Task"],
    "distilmq.steps.tasks.text_generation": ["ChatGeneration", "TextGeneration"],
    "distilmq.steps.tasks.typing": ["ChatType", "FormattedInput", "StructuredInput"],
    "distilmq.steps.typing": ["GeneratorStepOutput", "StepColumns", "StepOutput"],
    "distilmq.typing": ["ChatType", "GenerateOutput", "InputDataset", "LoadGroups"],
    "distilmq.utils.chat": ["is_openai_format"],
    "distilmq.utils.image": ["image_from_str", "image_to_str"],
    "distilmq.utils.requirements": ["requirements"],
}
MISSING_NAMES = [
    ("distilmq.distiset", "create_distiset"),
    ("distilmq.steps.tasks.base", "ImageTask"),
]
MISSING_MODULES = [
    "distilmq.mixins.requirements",
    "distilmq.models.base_clients.openai",
    "distilmq.pipeline.base",
    "distilmq.utils.card.dataset_card",
    "distilmq.utils.logging",
]


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in BUILT.items() for name in names])
def test_what_is_built_has_distilabels_path(module: str, name: str) -> None:
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize(("module", "name"), MISSING_NAMES)
def test_a_name_that_is_not_built_says_so(module: str, name: str) -> None:
    with pytest.raises(ImportError, match=f"{name}' is not in distilmq yet"):
        getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", MISSING_MODULES)
def test_a_module_that_is_not_built_says_so(module: str) -> None:
    with pytest.raises(ImportError, match="is not in distilmq yet"):
        importlib.import_module(module)


def test_the_decorator_stays_what_the_package_offers_when_its_module_is_imported() -> None:
    code = (
        "import distilmq.pipeline.routing_batch_function as module;"
        "from distilmq.pipeline import routing_batch_function; print(callable(routing_batch_function))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "True"


def test_what_never_was_is_no_attribute() -> None:
    assert not hasattr(importlib.import_module("distilmq"), "nonsense")
