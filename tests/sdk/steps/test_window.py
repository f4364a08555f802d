"""`distilmq.steps` offers every name of distilabel's, or says that it is not there yet."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

import distilmq.steps
from distilmq.steps.base import _Step
from distilmq.utils.docstring import sections

BUILT = [getattr(distilmq.steps, name) for name in distilmq.steps.__all__]
STEPS = [
    each
    for each in BUILT
    if isinstance(each, type) and issubclass(each, _Step) and "Attributes" in (each.__doc__ or "")
]
EXAMPLES = [
    (each.__name__, code)
    for each in BUILT
    if isinstance(each, type) and issubclass(each, _Step)
    for code in re.findall(r"```python\n(.*?)```", sections(each).get("examples", ""), re.DOTALL)
]


def test_all_names_are_sorted_and_there() -> None:
    assert distilmq.steps.__all__ == sorted(distilmq.steps.__all__)
    assert dir(distilmq.steps) == distilmq.steps.__all__


@pytest.mark.parametrize("name", distilmq.steps.NOT_YET)
def test_what_is_not_built_says_so(name: str) -> None:
    with pytest.raises(ImportError, match=f"'distilmq.steps.{name}' is not in distilmq yet"):
        getattr(importlib.import_module("distilmq.steps"), name)
    with pytest.raises(ImportError, match="is not in distilmq yet"):
        exec(f"from distilmq.steps import {name}")


def test_every_step_of_distilabel_is_there_or_listed() -> None:
    distilabel = [
        "LoadDataFromDicts",
        "LoadDataFromHub",
        "LoadDataFromFileSystem",
        "LoadDataFromDisk",
        "DataSampler",
        "PushToHub",
        "CombineOutputs",
        "GroupColumns",
        "MergeColumns",
        "KeepColumns",
        "ExpandColumns",
        "TruncateTextColumn",
        "ConversationTemplate",
        "FormatTextGenerationSFT",
        "FormatChatGenerationSFT",
        "FormatTextGenerationDPO",
        "FormatChatGenerationDPO",
        "DeitaFiltering",
        "EmbeddingGeneration",
        "FaissNearestNeighbour",
        "EmbeddingDedup",
        "MinHashDedup",
        "UMAP",
        "DBSCAN",
        "TextClustering",
        "RewardModelScore",
        "PreferenceToArgilla",
        "TextGenerationToArgilla",
        "GeneratorStep",
        "GlobalStep",
        "Step",
        "StepInput",
        "StepResources",
        "step",
        "make_generator_step",
        "StepColumns",
        "StepOutput",
        "GeneratorStepOutput",
    ]

    assert set(distilabel) == set(distilmq.steps.__all__) | set(distilmq.steps.NOT_YET)


def test_what_never_was_is_no_attribute() -> None:
    assert not hasattr(distilmq.steps, "Nonsense")


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_example_of_a_step_runs(name: str, code: str) -> None:
    exec(compile(code, name, "exec"), {})


def test_each_step_has_an_example() -> None:
    without = [each.__name__ for each in STEPS if each.__name__ not in dict(EXAMPLES)]

    assert without == ["GeneratorStep", "Step"]


def test_importing_steps_loads_no_heavy_library() -> None:
    heavy = ["datasets", "pandas", "pyarrow", "numpy", "PIL", "huggingface_hub", "yaml", "upath"]
    code = f"import sys; from distilmq.steps import *; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    [
        "distilmq.steps.clustering.umap",
        "distilmq.steps.tasks.evol_instruct.base",
        "distilmq.models.llms.mlx",
        "distilmq.steps.embeddings.nearest_neighbour",
    ],
)
def test_a_module_that_is_not_built_says_so_from_its_dotted_path(module: str) -> None:
    with pytest.raises(ImportError, match="is not in distilmq yet"):
        importlib.import_module(module)
