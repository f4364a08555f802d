"""Pipelines as data: nothing is lost, distilabel's load, and foreign code only when it is trusted."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.pipeline import Pipeline, routing_batch_function, sample_n_steps
from distilmq.steps import GroupColumns, KeepColumns, LoadDataFromDicts
from tests.sdk.pipeline.some_steps import Asks, Double, Service, rows


@routing_batch_function(description="The first of them.")
def first_one(steps: list[str]) -> list[str]:
    return steps[:1]


def library_pipeline() -> Pipeline:
    """A pipeline of distilmq's own classes."""
    with Pipeline("saved", description="To be saved.", requirements=["pyyaml>=6"]) as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"a": 1, "b": "x"}, {"a": None, "b": "ü"}], batch_size=7)
        keeps = [KeepColumns(name=f"keep.{column}", columns=[column]) for column in ("a", "b")]
        group = GroupColumns(name="group", columns=["a"], output_columns=["as"])
        load >> sample_n_steps(1) >> keeps >> group
    return pipeline


def user_pipeline() -> Pipeline:
    """A pipeline of the user's classes."""
    with Pipeline("users") as pipeline:
        load = rows()
        (
            load
            >> first_one
            >> [Double(name="one"), Asks(name="ask", service=Service(region="eu", api_key=SecretStr("no")))]
        )
    return pipeline


def test_a_dump_has_the_shape_that_distilabel_gave_it() -> None:
    dump = library_pipeline().dump()

    assert list(dump) == ["distilmq", "pipeline", "requirements"]
    assert dump["pipeline"]["name"] == "saved"
    assert [step["name"] for step in dump["pipeline"]["steps"]] == ["load", "keep.a", "keep.b", "group"]
    assert dump["pipeline"]["steps"][1]["step"]["type_info"]["name"] == "KeepColumns"
    assert dump["pipeline"]["connections"] == [
        {"from": "load", "to": ["keep.a", "keep.b"]},
        {"from": "keep.a", "to": ["group"]},
        {"from": "keep.b", "to": ["group"]},
        {"from": "group", "to": []},
    ]
    (route,) = dump["pipeline"]["routing_batch_functions"]
    assert (route["step"], route["type_info"]["kwargs"]) == ("load", {"n": 1})
    assert dump["requirements"] == ["pyyaml>=6"]


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml"])
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, suffix: str) -> None:
    pipeline = library_pipeline()
    path = tmp_path / f"pipeline.{suffix}"

    pipeline.save(path)
    loaded = Pipeline.from_file(path)

    assert loaded.dump() == pipeline.dump()
    assert loaded.signature == pipeline.signature
    assert loaded.dag.routes["load"].sample == 1


def test_formats_by_name(tmp_path: Path) -> None:
    pipeline = library_pipeline()

    pipeline.save(tmp_path, format="yaml")
    pipeline.save(tmp_path, format="json")

    assert Pipeline.from_yaml(tmp_path / "distilmq-file.yaml").dump() == pipeline.dump()
    assert Pipeline.from_json(tmp_path / "distilmq-file.json").dump() == pipeline.dump()


def test_a_pipeline_loads_from_a_url(tmp_path: Path) -> None:
    library_pipeline().save(tmp_path / "pipeline.yaml")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        loaded = Pipeline.from_url(f"http://127.0.0.1:{server.server_port}/pipeline.yaml")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert loaded.dump() == library_pipeline().dump()


def test_the_users_classes_load_only_when_they_are_trusted() -> None:
    dump = user_pipeline().dump()

    with pytest.raises(DistilmqUserError, match="trust_remote_code=True"):
        Pipeline.from_dict(dump)
    loaded = Pipeline.from_dict(dump, trust_remote_code=True)

    assert loaded.dump() == dump
    assert loaded.dag.routes["load"](["one", "ask"]) == ["one"]
    assert loaded.dag.routes["load"].description == "The first of them."


def test_a_dump_holds_no_secret() -> None:
    assert '"no"' not in json.dumps(user_pipeline().dump())


def test_a_pipeline_of_distilabel_loads() -> None:
    dump = yaml.safe_load("""
        distilabel:
          version: 1.5.3
        pipeline:
          name: old
          description: null
          steps:
          - step:
              name: load
              resources: {replicas: 1, cpus: null, gpus: null, memory: null, resources: null,
                type_info: {module: distilabel.steps.base, name: StepResources}}
              input_mappings: {}
              output_mappings: {}
              use_cache: true
              batch_size: 50
              runtime_parameters_info: []
              type_info: {module: distilabel.steps.generators.data, name: LoadDataFromDicts}
            name: load
          - step:
              name: keep
              resources: {replicas: 1, cpus: null, gpus: null, memory: null, resources: null,
                type_info: {module: distilabel.steps.base, name: StepResources}}
              input_mappings: {}
              output_mappings: {}
              use_cache: true
              input_batch_size: 50
              columns: [instruction, distilabel_metadata]
              runtime_parameters_info: []
              type_info: {module: distilabel.steps.columns.keep, name: KeepColumns}
            name: keep
          connections:
          - {from: load, to: [keep]}
          - {from: keep, to: []}
          routing_batch_functions:
          - step: load
            type_info: {module: distilabel.pipeline.routing_batch_function, name: sample_n_steps, kwargs: {n: 1}}
          type_info: {module: distilabel.pipeline.local, name: Pipeline}
        requirements: []
    """)

    pipeline = Pipeline.from_dict(dump)

    keep = pipeline.dag.steps["keep"]
    assert isinstance(keep, KeepColumns)
    assert keep.columns == ["instruction", "distilmq_metadata"]
    assert pipeline.dag.graph.edges() == [("load", "keep")]
    assert pipeline.dag.routes["load"].sample == 1


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_row_with_half_a_character_is_saved(tmp_path: Path, suffix: str) -> None:
    with Pipeline("odd") as pipeline:
        load = LoadDataFromDicts(name="load", data=[{"a": "cut \ud83d"}])

    pipeline.save(tmp_path / f"odd.{suffix}")

    loaded = Pipeline.from_file(tmp_path / f"odd.{suffix}").dag.steps["load"]
    assert isinstance(loaded, LoadDataFromDicts)
    assert loaded.data == load.data


def distilabel_dump(module: str, name: str, **fields: Any) -> dict[str, Any]:
    """A pipeline of one step, as distilabel saves it."""
    step = {"name": "load", **fields, "type_info": {"module": module, "name": name}}
    return {"distilabel": {"version": "1.5.3"}, "pipeline": {"name": "old", "steps": [{"name": "load", "step": step}]}}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("LoadDataFromFileSystem", {"data_files": "x.csv", "streaming": False, "config": None, "filetype": None}),
        ("LoadDataFromDisk", {"dataset_path": "x", "streaming": False, "config": "default", "is_distiset": False}),
    ],
)
def test_what_distilabels_loaders_inherit_from_that_of_the_hub_is_left_out(name: str, fields: dict[str, Any]) -> None:
    inherited = {"repo_id": None, "split": "train", "revision": None, "num_examples": None, "storage_options": None}
    dump = distilabel_dump("distilabel.steps.generators.huggingface", name, **inherited, **fields)

    loaded = Pipeline.from_dict(dump)

    assert type(loaded.dag.steps["load"]).__name__ == name


def test_rows_that_distilabel_did_not_save_are_missed(caplog: pytest.LogCaptureFixture) -> None:
    Pipeline.from_dict(distilabel_dump("distilabel.steps.generators.data", "LoadDataFromDicts", batch_size=7))

    assert "Step 'load' has no rows, since distilabel does not save them" in caplog.text


def test_a_routing_function_at_the_root_is_saved() -> None:
    with Pipeline("rooted") as pipeline:
        sample_n_steps(1) >> [KeepColumns(name="one", columns=["a"]), KeepColumns(name="two", columns=["a"])]

    loaded = Pipeline.from_dict(pipeline.dump())

    assert loaded.dag.root_route is not None
    assert (loaded.dag.root_route[0].sample, loaded.dag.root_route[1]) == (1, ["one", "two"])


@pytest.mark.parametrize(
    ("dump", "words"),
    [
        ({}, "not the dump of a pipeline"),
        ({"pipeline": {"name": "x"}}, "not the dump of a pipeline"),
        ({"pipeline": {"name": "x", "steps": []}}, "neither of"),
        ({"distilmq": {}, "pipeline": {"steps": [{"name": "a", "step": {}}]}}, "Step 'a' has no `type_info`"),
        ({"distilmq": {}, "pipeline": {"steps": [3]}}, "not all of its `steps` are mappings"),
        ({"distilmq": {}, "pipeline": {"steps": [{"name": "a"}]}}, "its step 'a' is no mapping"),
        ({"distilmq": {}, "pipeline": {"steps": [], "connections": 3}}, "where its `connections` have a list stands"),
        ({"distilmq": {}, "pipeline": {"steps": [], "connections": [{"to": ["a"]}]}}, "'None' does not exist"),
        (
            {
                "distilmq": {},
                "pipeline": {"steps": [{"name": "a", "step": {"type_info": {"module": "os", "name": "system"}}}]},
            },
            "trust_remote_code=True",
        ),
        (
            {
                "distilmq": {},
                "pipeline": {
                    "steps": [{"name": "a", "step": {"type_info": {"module": "distilmq.errors", "name": "RunError"}}}]
                },
            },
            "which is no step",
        ),
    ],
)
def test_what_is_no_pipeline_is_refused(dump: dict[str, object], words: str) -> None:
    with pytest.raises(DistilmqUserError, match=words):
        Pipeline.from_dict(dump)


def test_a_name_is_saved_though_it_was_not_given() -> None:
    with Pipeline() as pipeline:
        rows() >> Double(name="double")

    assert pipeline.dump()["pipeline"]["name"] == "pipeline_load_double"


def test_a_step_that_cannot_be_built_is_named() -> None:
    dump = library_pipeline().dump()
    dump["pipeline"]["steps"][0]["step"]["colour"] = "blue"

    with pytest.raises(DistilmqUserError, match=r"Step '.+' cannot be loaded: `colour` cannot be 'blue'"):
        Pipeline.from_dict(dump, trust_remote_code=True)
