"""A pipeline becomes a plan: code by pickle, secrets apart, signatures over everything upstream."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from pydantic import SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.models import OpenAILLM
from distilmq.pipeline import Pipeline, routing_batch_function, sample_n_steps
from distilmq.pipeline.compile import Compiled, compile_plan
from distilmq.pipeline.pickling import pickled_function, pickled_step
from distilmq.pipeline.prepare import Prepared, RunOptions, prepare
from distilmq.protocol.plan import ResourceSpec, RouteSpec, RunSettings, decode_plan, encode_plan
from distilmq.steps import LoadDataFromDicts, StepInput, StepResources, step
from distilmq.steps.tasks import TextGeneration
from tests.sdk.pipeline.some_steps import Asks, Double, Join, Service, Total, rows


def compiled(pipeline: Pipeline, **options: Any) -> Compiled:
    prepared = prepare(pipeline.dag, RunOptions(**options))
    return compile_plan(
        prepared.dag,
        name=pipeline.name,
        description="",
        signatures=prepared.signatures,
        stages=prepared.stages,
        settings=RunSettings(),
        max_batches=None if options.get("dry_run") is None else 1,
    )


def signatures(pipeline: Pipeline, **options: Any) -> dict[str, str]:
    return {name: signed.digest for name, signed in prepare(pipeline.dag, RunOptions(**options)).signatures.items()}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


def diamond(count: int = 3, **one: Any) -> Pipeline:
    with Pipeline("diamond") as pipeline:
        load = rows(count)
        join = Join(name="join")
        load >> [Double(name="one", **one), Double(name="two")] >> join
        join >> Total(name="total")
    return pipeline


def test_a_plan_says_what_each_step_is_and_where_its_rows_come_from() -> None:
    plan = compiled(diamond()).plan

    assert [(step.name, step.kind, step.size, step.predecessors, step.multiple_inputs) for step in plan.steps] == [
        ("load", "generator", 50, (), False),
        ("one", "normal", 50, ("load",), False),
        ("two", "normal", 50, ("load",), False),
        ("join", "normal", 50, ("one", "two"), True),
        ("total", "global", 50, ("join",), False),
    ]
    assert plan.stages == (("load", "one", "two", "join"), ("total",))
    assert (plan.step("load").known_rows, plan.step("one").outputs, plan.leaves) == (3, ("double",), ("total",))


def test_a_plan_survives_the_wire() -> None:
    plan = compiled(diamond()).plan

    assert decode_plan(encode_plan(plan)) == plan


def test_resources_are_those_of_the_step() -> None:
    with Pipeline("resources") as pipeline:
        wanted = StepResources(replicas=3, gpus=1, memory=10, resources={"tpu": 2}, labels={"zone": "eu"})
        rows() >> Double(name="double", resources=wanted)

    assert compiled(pipeline).plan.step("double").resources == ResourceSpec(
        replicas=3, gpus=1, memory=10, resources={"tpu": 2}, labels={"zone": "eu"}
    )


def test_time_is_no_bound_on_what_waits_for_batch_jobs() -> None:
    def pipeline(llm: OpenAILLM) -> Pipeline:
        with Pipeline("waiting") as built:
            rows() >> TextGeneration(name="ask", llm=llm, batch_timeout=5, input_mappings={"instruction": "n"})
        return built

    llm = OpenAILLM(model="gpt-4", api_key="k", use_offline_batch_generation=True)
    single = compiled(pipeline(OpenAILLM(model="gpt-4", api_key="k"))).plan.step("ask")
    batch = compiled(pipeline(llm)).plan.step("ask")
    tried = compiled(pipeline(llm), dry_run=1).plan.step("ask")

    assert (single.batch_timeout, batch.batch_timeout) == (5, None)
    assert (tried.batch_timeout, llm.use_offline_batch_generation) == (5, True), "a dry run asks at once"
    assert single.stall_after < 3600 < batch.stall_after
    assert single.signature == batch.signature


def test_a_step_comes_out_of_its_definition_as_it_went_in() -> None:
    with Pipeline("pickled") as pipeline:
        rows() >> Double(name="double", input_batch_size=7)

    double = pickle.loads(compiled(pipeline).plan.step("double").definition)

    assert (type(double), double.name, double.input_batch_size, double.pipeline) == (Double, "double", 7, None)


def test_secrets_are_apart_from_the_plan() -> None:
    with Pipeline("secret") as pipeline:
        rows() >> Asks(name="ask", service=Service(region="eu", api_key=SecretStr("sesame")))

    result = compiled(pipeline)

    assert result.secrets == {"ask": {"service.api_key": "sesame"}}
    assert b"sesame" not in encode_plan(result.plan)
    assert "sesame" not in repr(result)


LOCK = threading.Lock()
HELD = {"fine": 1, "lock": LOCK}


def used_by_another() -> bool:
    return LOCK.locked()


@step(inputs=["a"], outputs=["a"])
def Locking(inputs: StepInput) -> Any:
    with LOCK:
        yield inputs


@step(inputs=["a"], outputs=["a"])
def Calling(inputs: StepInput) -> Any:
    used_by_another()
    yield inputs


class Holding(Double):
    held: Any = None


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: Locking(name="ask"), "the module-level variable 'LOCK' that 'Locking' uses"),
        (lambda: Calling(name="ask"), "the module-level variable 'LOCK' that 'used_by_another' uses"),
        (lambda: Holding(name="ask", held=HELD), "the value under 'lock'"),
        (lambda: Holding(name="ask", held=LOCK), "the attribute 'held' of `Holding`"),
    ],
)
def test_what_keeps_a_step_from_being_pickled_is_named(made: Any, named: str) -> None:
    with Pipeline("refused"):
        built = made()

    with pytest.raises(DistilmqUserError) as caught:
        pickled_step(built, travels=True)

    assert str(caught.value).startswith(f"Step 'ask' cannot be sent to a worker, since {named} cannot be pickled: ")


def test_a_class_goes_without_the_variables_of_the_function_that_made_it() -> None:
    nearby = threading.Lock()

    class Near(Double):
        def process(self, inputs: StepInput) -> Any:
            yield inputs

    sent = pickle.loads(pickled_step(Near(name="near")))

    assert nearby is not sent
    assert [*sent.process([{"x": 1}])] == [[{"x": 1}]]


def test_a_step_that_cannot_be_pickled_is_named() -> None:
    with Pipeline("stuck") as pipeline:
        ask = Asks(name="ask", service=Service(region="eu"))
        rows() >> ask
    ask._connection = threading.Lock()

    with pytest.raises(DistilmqUserError, match=r"Step 'ask' cannot be sent to a worker.*pickle"):
        compiled(pipeline)


def test_routing_functions_travel_bare_and_samples_as_data() -> None:
    @routing_batch_function
    def last(steps: list[str]) -> list[str]:
        return steps[-1:]

    with Pipeline("routed") as pipeline:
        one, two, three, four = (Double(name=name) for name in ("one", "two", "three", "four"))
        rows() >> sample_n_steps(1) >> [one, two]
        one >> last >> [three, four]

    sampled, bare = compiled(pipeline).plan.routes

    assert sampled == RouteSpec(step="load", sample=1)
    assert (bare.step, pickle.loads(bare.function)(["a", "b"])) == ("one", ["b"])


def test_running_changes_neither_pipeline_nor_arguments() -> None:
    service = {"region": "eu", "generation_kwargs": {"t": 1}}
    parameters = {"load": {"batch_size": 7}, "ask": {"service": service}}
    passed = copy.deepcopy(parameters)
    with Pipeline("unchanged") as pipeline:
        rows() >> Asks(name="ask")
    before = pipeline.dump()

    plan = compiled(pipeline, parameters=parameters, dry_run=2).plan

    ask = pickle.loads(plan.step("ask").definition)
    assert (ask.service.region, ask.service.generation_kwargs) == ("eu", {"t": 1})
    assert (plan.step("load").size, plan.step("load").max_batches) == (2, 1)
    assert pipeline.dump() == before
    assert parameters == passed


def test_rows_of_a_loader_are_shared_not_copied() -> None:
    with Pipeline("shared") as pipeline:
        load = rows()

    copied = pipeline.dag.copied().steps["load"]

    assert isinstance(copied, LoadDataFromDicts)
    assert copied is not load
    assert copied.data is load.data


def test_a_dataset_is_put_in_front_of_all_roots_each_time() -> None:
    with Pipeline("given") as pipeline:
        Double(name="one")
        Double(name="two")

    plans = [compiled(pipeline, dataset=[{"n": 1}], dataset_batch_size=9).plan for _ in range(2)]

    for plan in plans:
        load = plan.steps[0]
        assert (load.kind, load.size, plan.successors(load.name)) == ("generator", 9, ("one", "two"))
    assert pipeline.dag.root_steps == ["one", "two"]


def test_a_dataset_for_a_pipeline_with_a_generator_is_refused() -> None:
    with pytest.raises(DistilmqUserError, match="has the generator step 'load' already"):
        compiled(diamond(), dataset=[{"n": 1}])


def test_a_dataset_of_another_type_is_refused() -> None:
    with Pipeline("given") as pipeline:
        Double(name="one")

    with pytest.raises(DistilmqUserError, match="Dataset type not allowed"):
        compiled(pipeline, dataset=42)


def test_a_routing_function_at_the_root_routes_a_dataset() -> None:
    with Pipeline("routed") as pipeline:
        sample_n_steps(1) >> [Double(name="one"), Double(name="two")]

    plan = compiled(pipeline, dataset=[{"n": 1}]).plan

    assert plan.routes == (RouteSpec(step=plan.steps[0].name, sample=1),)
    assert plan.successors(plan.steps[0].name) == ("one", "two")


def test_a_root_beside_the_routed_ones_is_refused() -> None:
    with Pipeline("routed") as pipeline:
        sample_n_steps(1) >> [Double(name="one"), Double(name="two")]
        Double(name="three")

    with pytest.raises(DistilmqUserError, match="Step 'three' has nothing in front of it"):
        compiled(pipeline, dataset=[{"n": 1}])


def test_signatures_follow_from_what_a_pipeline_is() -> None:
    assert signatures(diamond()) == signatures(diamond())


def test_changing_a_step_changes_it_and_what_follows() -> None:
    assert changed(signatures(diamond()), signatures(diamond(output_mappings={"double": "twice"}))) == [
        "one",
        "join",
        "total",
    ]


def test_sizes_and_resources_change_no_signature() -> None:
    other = diamond(input_batch_size=3, resources=StepResources(replicas=4))

    assert changed(signatures(diamond()), signatures(other)) == []


def test_other_rows_change_everything() -> None:
    assert changed(signatures(diamond(3)), signatures(diamond(4))) == ["load", "one", "two", "join", "total"]


def test_a_route_changes_what_is_behind_it() -> None:
    def routed(n: int) -> Pipeline:
        with Pipeline("routed") as pipeline:
            rows() >> sample_n_steps(n) >> [Double(name="one"), Double(name="two")]
        return pipeline

    assert changed(signatures(routed(1)), signatures(routed(2))) == ["one", "two"]


def test_secrets_change_no_signature() -> None:
    def asking(key: str) -> Pipeline:
        with Pipeline("secret") as pipeline:
            rows() >> Asks(name="ask", service=Service(region="eu", api_key=SecretStr(key)))
        return pipeline

    assert signatures(asking("one")) == signatures(asking("two"))


def test_code_of_a_module_that_a_worker_cannot_import_goes_by_value(tmp_path: Path) -> None:
    script = tmp_path / "elsewhere.py"
    script.write_text(
        "from distilmq.steps import Step, StepInput\n"
        "FACTOR = 3\n"
        "class Triple(Step):\n"
        "    def process(self, inputs: StepInput):\n"
        "        yield [{**row, 'n': FACTOR * row['n']} for row in inputs]\n"
    )
    spec = importlib.util.spec_from_file_location("elsewhere_of_test", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["elsewhere_of_test"] = module
    spec.loader.exec_module(module)
    try:
        with Pipeline("by-value") as pipeline:
            rows() >> module.Triple(name="triple")
        definition = compiled(pipeline).plan.step("triple").definition
    finally:
        del sys.modules["elsewhere_of_test"]

    program = "import pickle, sys; step = pickle.loads(sys.stdin.buffer.read()); print(list(step.process([{'n': 2}])))"
    done = subprocess.run([sys.executable, "-c", program], input=definition, capture_output=True, check=True)

    assert done.stdout.decode().strip() == "[[{'n': 6}]]"
    assert "elsewhere_of_test" not in cloudpickle.list_registry_pickle_by_value()


@pytest.mark.parametrize("packages", ["site-packages", "dist-packages"])
def test_what_is_installed_outside_this_environment_goes_by_its_name(
    packages: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lib" / packages
    folder.mkdir(parents=True)
    name = f"beneath_{packages.replace('-', '_')}"
    (folder / f"{name}.py").write_text("def raised(n):\n    return n + 1\n")
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module(name)

    sent = pickled_function(module.raised, "A function", travels=True)
    assert pickle.loads(sent) is module.raised

    monkeypatch.undo()
    del sys.modules[name]
    with pytest.raises(ModuleNotFoundError, match=name):
        pickle.loads(sent)


def test_a_prepared_pipeline_knows_the_columns_of_its_leaves() -> None:
    prepared: Prepared = prepare(diamond().dag, RunOptions())

    assert prepared.columns["total"] == ["n", "double", "total"]


def test_a_dry_run_is_not_warned_of_its_own_batch_size(caplog: pytest.LogCaptureFixture) -> None:
    with Pipeline("dry") as pipeline:
        sample_n_steps(1) >> [Double(name="a"), Double(name="b")]

    dry = prepare(pipeline.dag, RunOptions(dataset=[{"n": 1}], dry_run=1))

    assert [generator.batch_size for generator in dry.dag.generators] == [1]
    assert not [record for record in caplog.records if "input_batch_size" in record.getMessage()]
