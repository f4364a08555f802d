"""A signature changes with what comes out, and with nothing else."""

from __future__ import annotations

import copy
import functools
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import SecretStr

import distilmq.steps
from distilmq.mixins.runtime_parameters import RuntimeParametersMixin
from distilmq.mixins.serialization import Serializable
from distilmq.mixins.signature import Signed, operational
from distilmq.steps import KeepColumns, LoadDataFromHub, PushToHub, Step, StepInput, StepOutput, StepResources
from distilmq.steps.base import _Step
from distilmq.steps.generators.dataset import LoadDataFromDataset

SUBSTANCE = {
    "ConversationTemplate": set(),
    "CombineOutputs": set(),
    "DataSampler": {"size", "samples", "seed"},
    "EmbeddingGeneration": {"embeddings"},
    "ExpandColumns": {"columns", "encoded", "split_statistics"},
    "FormatChatGenerationDPO": set(),
    "FormatChatGenerationSFT": set(),
    "FormatTextGenerationDPO": set(),
    "FormatTextGenerationSFT": set(),
    "GeneratorStep": set(),
    "GlobalStep": set(),
    "GroupColumns": {"columns", "output_columns"},
    "KeepColumns": {"columns"},
    "LoadDataFromDataset": {"num_examples"},
    "LoadDataFromDicts": set(),
    "LoadDataFromDisk": {"dataset_path", "is_distiset", "config", "split", "num_examples"},
    "LoadDataFromFileSystem": {"data_files", "filetype", "split", "num_examples"},
    "LoadDataFromHub": {"repo_id", "split", "config", "revision", "num_examples"},
    "MergeColumns": {"columns", "output_column"},
    "PushToHub": {"repo_id", "split", "private"},
    "Step": set(),
    "TruncateTextColumn": {"column", "max_length", "tokenizer"},
}
OF_ALL = {"name", "input_mappings", "output_mappings"}
OPERATIONAL = {
    "DataSampler": {"data", "batch_size"},
    "GeneratorStep": {"batch_size"},
    "LoadDataFromDataset": {"dataset", "batch_size", "storage_options"},
    "LoadDataFromDicts": {"data", "batch_size"},
    "LoadDataFromDisk": {"batch_size", "storage_options", "keep_in_memory"},
    "LoadDataFromFileSystem": {"batch_size", "storage_options", "streaming"},
    "LoadDataFromHub": {"batch_size", "storage_options", "streaming"},
    "PushToHub": {"input_batch_size", "token"},
}
CLASSES = [getattr(distilmq.steps, name) for name in distilmq.steps.__all__]
STEPS = [each for each in CLASSES if isinstance(each, type) and issubclass(each, _Step)] + [LoadDataFromDataset]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_every_field_is_operational_or_of_substance(step: type[_Step]) -> None:
    expected = OPERATIONAL.get(step.__name__, {"input_batch_size"}) | {
        "pipeline",
        "resources",
        "use_cache",
        "batch_timeout",
        "max_failure_rate",
    }

    assert operational(step) & set(step.model_fields) == expected
    assert set(step.model_fields) - expected == SUBSTANCE[step.__name__] | OF_ALL


def test_all_fields_of_resources_are_operational() -> None:
    few, many = KeepColumns(columns=["a"]), KeepColumns(columns=["a"], resources=StepResources(replicas=4, gpus=1))

    assert few.signature == many.signature


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"columns": ["b"]}, "columns"),
        ({"name": "other"}, "name"),
        ({"input_mappings": {"a": "b"}}, "input_mappings"),
        ({"output_mappings": {"a": "b"}}, "output_mappings"),
    ],
)
def test_a_change_of_substance_is_named(change: dict[str, Any], part: str) -> None:
    before = KeepColumns(name="keep", columns=["a"]).signature_fields()
    after = KeepColumns(**{"name": "keep", "columns": ["a"], **change}).signature_fields()

    assert [name for name in before if before[name] != after[name]] == [part]


def test_a_loader_changes_with_what_it_loads_and_not_with_how() -> None:
    loader = LoadDataFromHub(repo_id="a/b")

    assert LoadDataFromHub(repo_id="a/b", streaming=True, batch_size=3).signature == loader.signature
    assert LoadDataFromHub(repo_id="a/c").signature != loader.signature


def test_secrets_are_no_part_of_a_signature() -> None:
    assert PushToHub(repo_id="a/b", token=SecretStr("x")).signature == PushToHub(repo_id="a/b").signature


class Engine(RuntimeParametersMixin, Serializable, Signed):
    model_name: str = "small"
    timeout: int = 3
    operational_fields: ClassVar[frozenset[str]] = frozenset({"timeout"})


class Asking(distilmq.steps.Step):
    llm: Engine

    def process(self, inputs: Any) -> Any:
        yield inputs


def test_what_a_step_holds_counts_by_its_own_fields() -> None:
    before = Asking(llm=Engine()).signature_fields()
    changed = {
        name
        for name, digest in Asking(llm=Engine(model_name="large", timeout=9)).signature_fields().items()
        if before[name] != digest
    }

    assert changed == {"llm.model_name"}


SCRIPT = """
from distilmq.steps import Step, StepInput, StepOutput, step

import functools, random, re
import signature_helpers, signature_package.inner

FACTOR = 2
PATTERN = re.compile("a")
PLACES = {{(1, 2): "x"}}
RANDOM = random.Random()

class Scale:
    def __init__(self, to):
        self.to, self.units = to, {{"m", "km", "cm"}}
    def __call__(self, text):
        return text * self.to

SCALE = functools.partial(Scale(3), "a")

@functools.lru_cache
def looked_up(text):
    return text + "1"
WORDS = {{"a", "b", "c", "d"}}

def helper(text):
    # a comment
    return text * FACTOR {helper}

class Base(Step):
    limit: int = 1
    def prepare(self, text):
        {doc}
        return helper(text) {base}

class Mine(Base):
    def process(self, inputs: StepInput) -> StepOutput:
        yield [{{**row, "x": self.prepare(row["text"]), "y": row["text"] in WORDS}} for row in inputs]

@step(outputs=["z"])
def Decorated(inputs: StepInput) -> StepOutput:
    yield [{{**row, "z": helper(row["text"]) {function}}} for row in inputs]

@step(outputs=["v"])
def Uses(inputs: StepInput) -> StepOutput:
    yield [{{**row, "v": (PATTERN, PLACES, RANDOM, SCALE, looked_up(row["text"]))}} for row in inputs]

@step(outputs=["v"])
def Imports(inputs: StepInput) -> StepOutput:
    yield [{{**row, "v": signature_helpers.clean(signature_package.inner.cut(row["text"]))}} for row in inputs]

@step(outputs=["v"])
def Late(inputs: StepInput) -> StepOutput:
    def look(text):
        from signature_late import words, deep

        return words.count(text) + deep.more(text)

    yield [{{**row, "v": look(row["text"])}} for row in inputs]

print(*(step(name="a").signature for step in (Mine, Decorated, Uses, Imports, Late)))
"""
MODULES = {
    "signature_helpers.py": "def clean(text):\n    return text.strip()\ndef unused(text):\n    return text\n",
    "signature_package/__init__.py": "",
    "signature_late/__init__.py": "",
    "signature_late/words.py": "import json\n\ndef count(text):\n    return len(text)\n",
    "signature_late/deep.py": "from . import deeper, words\n\ndef more(text):\n    return deeper.MORE\n",
    "signature_late/deeper.py": '"""Read by no function that is imported by name."""\n\nMORE = 1  # a remark\n',
    "signature_package/inner.py": "import signature_package\n\ndef cut(text):\n    return text[:9]\n",
}
NOTHING = {"helper": "", "doc": "pass", "base": "", "function": ""}


def signatures(folder: Path, change: dict[str, str], old: str = "", new: str = "") -> list[str]:
    """The signatures of a step of a class and one of a function, in a script with some changes."""
    script = folder / "script.py"
    files = {"script.py": textwrap.dedent(SCRIPT.format(**{**NOTHING, **change})), **MODULES}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace(old, new, 1))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("change", "old", "new", "changed"),
    [
        ({}, "", "", [False, False, False, False, False]),
        ({}, "# a comment", "#", [False, False, False, False, False]),
        ({"helper": "+ '!'"}, "", "", [True, True, False, False, False]),
        ({}, "FACTOR = 2", "FACTOR = 3", [True, True, False, False, False]),
        ({"base": "+ '!'"}, "", "", [True, False, False, False, False]),
        ({"function": "+ '!'"}, "", "", [False, True, False, False, False]),
        ({}, '"d"', '"e"', [True, False, False, False, False]),
        ({}, "limit: int = 1", "limit: int = 2", [True, False, False, False, False]),
        ({}, 're.compile("a")', 're.compile("b")', [False, False, True, False, False]),
        ({}, "(1, 2)", "(1, 3)", [False, False, True, False, False]),
        ({}, "Scale(3)", "Scale(4)", [False, False, True, False, False]),
        ({}, "text * self.to", "text * self.to + text", [False, False, True, False, False]),
        ({}, 'text + "1"', 'text + "2"', [False, False, True, False, False]),
        ({}, "text.strip()", "text.lstrip()", [False, False, False, True, False]),
        ({}, "text[:9]", "text[:8]", [False, False, False, True, False]),
        ({}, "def unused(text)", "def unused(words)", [False, False, False, False, False]),
        ({}, "len(text)", "len(text) + 1", [False, False, False, False, True]),
        ({}, "MORE = 1", "MORE = 2", [False, False, False, False, True]),
        ({}, "# a remark", "# another", [False, False, False, False, False]),
    ],
)
def test_code_of_the_user_counts_with_what_it_uses(
    tmp_path: Path, change: dict[str, str], old: str, new: str, changed: list[bool]
) -> None:
    before = signatures(tmp_path, {})
    after = signatures(tmp_path, change, old, new)

    assert [one != other for one, other in zip(before, after, strict=True)] == changed


def test_docstrings_count_for_nothing(tmp_path: Path) -> None:
    assert signatures(tmp_path, {"doc": '"""Says what it does."""'}) == signatures(
        tmp_path, {"doc": '"""Says more."""'}
    )


class Holding(Step):
    held: Any = None

    def process(self, inputs: StepInput) -> StepOutput:
        yield inputs


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros(5000), np.arange(5000.0)),
        (re.compile("a"), re.compile("b")),
        ({(1, 2): 3}, {(1, 2): 4}),
        (functools.partial(int, base=2), functools.partial(int, base=8)),
        ({1: "a", "b": 2}, {1: "b", "b": 2}),
    ],
)
def test_values_that_no_dump_can_say_count_by_what_they_hold(one: Any, other: Any) -> None:
    def signature(held: Any) -> str:
        return Holding(name="holding", held=held).signature

    assert signature(one) == signature(copy.deepcopy(one))
    assert signature(one) != signature(other)
