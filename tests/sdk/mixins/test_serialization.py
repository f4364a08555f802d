"""Dumps lose nothing but secrets, and load nothing that is not trusted."""

from __future__ import annotations

import datetime
import decimal
import functools
import http.server
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParametersMixin
from distilmq.mixins.secrets import give_secrets, secret_values, secret_variables
from distilmq.mixins.serialization import Serializable
from distilmq.models import OpenAILLM
from distilmq.steps import ExpandColumns, GroupColumns, KeepColumns, LoadDataFromDicts, StepResources

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)


class Shape(BaseModel):
    corners: int


class Colour(Enum):
    RED = "red"


class Engine(RuntimeParametersMixin, Serializable):
    api_key: SecretStr | None = None
    k: int = 1
    shape: Any = None
    function: Callable[..., Any] | None = None


class FastEngine(Engine):
    speed: int = 9


class Machine(Serializable):
    engine: Engine = Field(default_factory=Engine)
    spares: list[Engine] = Field(default_factory=list)
    colour: Colour = Colour.RED
    names: set[str] = Field(default_factory=set)
    free: dict[str, Any] = Field(default_factory=dict)


def a_function() -> str:
    return "called"


def reloaded(model: Serializable, folder: Path, suffix: str) -> Any:
    model.save(folder / f"dump{suffix}")
    return type(model).from_file(folder / f"dump{suffix}", trust_remote_code=True)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_saved_model_comes_back_with_its_classes(tmp_path: Path, suffix: str) -> None:
    model = Machine(
        engine=FastEngine(k=5, speed=3), spares=[Engine(k=2), FastEngine()], names={"b", "a"}, free={"x": 1}
    )

    loaded = reloaded(model, tmp_path, suffix)

    assert loaded == model
    assert [type(engine) for engine in [loaded.engine, *loaded.spares]] == [FastEngine, Engine, FastEngine]


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize(
    "step",
    [
        GroupColumns(columns=["a"], output_columns=["b"], input_batch_size=3, input_mappings={"a": "x"}),
        ExpandColumns(columns={"a": None, "b": "c"}, encoded=["a"], split_statistics=True),
        KeepColumns(columns=["a"], resources=StepResources(replicas=3, resources={"tpu": 1}), use_cache=False),
        LoadDataFromDicts(data=[{"a": 1, "type_info": {"module": "os", "name": "system"}}], batch_size=2),
        LoadDataFromDicts(data=[{"a": datetime.datetime(2026, 1, 1), "b": b"\xff", "c": (1, 2)}]),
        LoadDataFromDicts(data=[{"a": n, "b": "\x85 : - #"} for n in range(500)]),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_saved_step_comes_back(tmp_path: Path, suffix: str, step: Serializable) -> None:
    step.save(tmp_path / f"step{suffix}")

    loaded = type(step).from_file(tmp_path / f"step{suffix}")

    assert loaded == step
    assert loaded.dump() == step.dump()


@settings(max_examples=40)
@given(row=st.dictionaries(st.text(min_size=1), json_values, min_size=1))
def test_many_rows_of_any_text_survive_yaml(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    rows = [{**row, "n": number} for number in range(101)]
    path = tmp_path_factory.mktemp("rows") / "step.yaml"
    LoadDataFromDicts(data=rows).save(path)

    assert LoadDataFromDicts.from_yaml(path).data == rows


def test_secrets_are_in_no_dump_and_in_no_pickle() -> None:
    model = Machine(engine=Engine(api_key=SecretStr("hush")), spares=[Engine(api_key=SecretStr("hush"))])

    assert "hush" not in json.dumps(model.dump())
    assert "api_key" not in model.dump()["engine"]
    assert b"hush" not in pickle.dumps(model)
    assert pickle.loads(pickle.dumps(model)).engine.api_key is None


def test_a_field_whose_name_is_part_of_a_secret_one_is_kept() -> None:
    assert Engine(k=5).dump()["k"] == 5


def test_a_secret_says_which_variable_it_comes_from_unless_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-this-machine")

    assert secret_variables(OpenAILLM(model="m")) == {"api_key": "OPENAI_API_KEY"}
    assert secret_variables(OpenAILLM(model="m", api_key=SecretStr("given"))) == {"api_key": ""}


def test_secrets_travel_apart() -> None:
    model = Machine(engine=Engine(api_key=SecretStr("one")), spares=[Engine(), Engine(api_key=SecretStr("two"))])
    values = secret_values(model)

    received = pickle.loads(pickle.dumps(model))
    give_secrets(received, {**values, "engine.nothing": "x", "spares.9.api_key": "x", "away.api_key": "x"})

    assert values == {"engine.api_key": "one", "spares.1.api_key": "two"}
    assert received == model


def test_what_is_no_plain_value_is_named() -> None:
    model = Machine(engine=Engine(shape=Shape, function=a_function))

    dumped = model.dump()

    assert dumped["colour"] == "red"
    assert dumped["engine"]["shape"] == Shape.model_json_schema()
    assert Machine.from_dict(dumped, trust_remote_code=True).engine.function is a_function


def test_only_classes_of_distilmq_are_loaded_without_trust() -> None:
    dumped = Machine(engine=FastEngine()).dump()

    with pytest.raises(DistilmqUserError, match=r"FastEngine' is not part of distilmq.*trust_remote_code=True"):
        Machine.from_dict(dumped)


def test_the_class_that_is_asked_needs_no_trust() -> None:
    assert Engine.from_dict(Engine(k=3).dump()).k == 3


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("distilmq.utils.files", "os"),
        ("distilmq.steps.base", "Path"),
        ("distilmq.utils.code", "builtins.eval"),
        ("distilmq.steps.nowhere", "X"),
        ("distilmq.mixins.serialization", "load_object"),
        ("distilmq_broker", "X"),
    ],
)
def test_a_dump_runs_nothing_that_it_names(module: str, name: str) -> None:
    dumped = {"name": "x", "resources": {"type_info": {"module": module, "name": name}}, "columns": ["a"]}

    with pytest.raises(DistilmqUserError):
        KeepColumns.from_dict({**dumped, "type_info": {"module": "distilmq.steps.columns.keep", "name": "KeepColumns"}})
    with pytest.raises(DistilmqUserError):
        Serializable.from_dict({"type_info": {"module": module, "name": name}})


def test_what_distilabel_saved_is_loaded() -> None:
    saved = {
        "name": "combine_generations",
        "resources": {
            "replicas": 1,
            "cpus": None,
            "gpus": None,
            "memory": None,
            "resources": None,
            "type_info": {"module": "distilabel.steps.base", "name": "StepResources"},
        },
        "input_mappings": {},
        "output_mappings": {},
        "use_cache": True,
        "input_batch_size": 50,
        "columns": ["generation"],
        "output_columns": ["generations"],
        "runtime_parameters_info": [{"name": "input_batch_size", "optional": True, "description": "…"}],
        "type_info": {"module": "distilabel.steps.columns.group", "name": "GroupColumns"},
    }

    loaded = GroupColumns.from_dict(saved)

    assert (loaded.name, loaded.columns, loaded.outputs) == ("combine_generations", ["generation"], ["generations"])


def test_a_dump_of_another_class_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match="this is the dump of a 'KeepColumns', not of a 'GroupColumns'"):
        GroupColumns.from_dict(KeepColumns(columns=["a"]).dump())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistilmqUserError, match=r"File '.*gone.yaml' does not exist"):
        GroupColumns.from_yaml(tmp_path / "gone.yaml")


def test_a_folder_gets_a_file_of_our_name(tmp_path: Path) -> None:
    KeepColumns(columns=["a"]).save(tmp_path, format="yaml")

    assert KeepColumns.from_file(tmp_path / "distilmq-file.yaml").columns == ["a"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Where the files of the test's folder are served; what was asked is added to `asked`."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["step.json", "step.yaml", "step.yml?revision=main"])
def test_a_model_is_loaded_from_a_url(served: str, tmp_path: Path, name: str) -> None:
    KeepColumns(columns=["a"]).save(tmp_path / name.partition("?")[0])

    assert KeepColumns.from_url(f"{served}/{name}").columns == ["a"]


@pytest.mark.parametrize("url", ["{}/gone.yaml", "file:///etc/passwd.json", "{}/step.txt"])
def test_a_url_that_gives_nothing_is_refused(served: str, url: str) -> None:
    with pytest.raises(DistilmqUserError):
        KeepColumns.from_url(url.format(served))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.float64(0.5), 0.5),
        (np.int64(5), 5),
        (decimal.Decimal("1.5"), "1.5"),
        (datetime.time(1, 2), "01:02:00"),
        (datetime.timedelta(minutes=1), 60.0),
        ({Colour.RED: (1, 2)}, {"red": [1, 2]}),
    ],
)
def test_values_are_saved_as_the_plain_ones_that_they_stand_for(tmp_path: Path, value: Any, kept: Any) -> None:
    for name in ("engine.yaml", "engine.json"):
        Engine(shape=value).save(tmp_path / name)

        assert Engine.from_file(tmp_path / name).shape == kept


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.arange(3), r"Engine.shape holds a 'ndarray', which cannot be saved"),
        ([object()], r"Engine.shape\[0\] holds a 'object', which cannot be saved"),
        ({(1, 2): 3}, r"A key of Engine.shape holds a 'tuple', which cannot be saved"),
        (functools.partial(int, base=2), r"Engine.shape holds a 'partial', which cannot be saved"),
    ],
)
def test_a_value_that_cannot_be_saved_is_named_with_its_field(value: Any, said: str) -> None:
    with pytest.raises(DistilmqUserError, match=said):
        Engine(shape=value).dump()


def test_bytes_are_saved_in_yaml_only(tmp_path: Path) -> None:
    Engine(shape=b"\xff").save(tmp_path / "engine.yaml")

    assert Engine.from_file(tmp_path / "engine.yaml").shape == b"\xff"
    with pytest.raises(DistilmqUserError, match="save the pipeline as YAML"):
        Engine(shape=b"\xff").save(tmp_path / "engine.json")
