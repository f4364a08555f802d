"""Checks a pipeline before anything is started: each refusal names the step, the column and the fix."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from distilmq.errors import DistilmqUserError
from distilmq.pipeline.dag import Dag, route_name
from distilmq.pipeline.offline_batches import check_offline_batches
from distilmq.pipeline.parameters import check_parameters
from distilmq.steps.base import GeneratorStep, _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it
from distilmq.steps.routing import RoutingBatchFunction
from distilmq.utils.columns import unique

_log = logging.getLogger("distilmq.pipeline")


def validate(dag: Dag) -> dict[str, list[str]]:
    """Raises the first thing that is wrong, in the order of the steps; what is only odd is a warning.

    Returns:
        The columns behind each step, as far as they are known.

    Raises:
        DistilmqUserError: the pipeline cannot run as it is.
        DistilmqTypeError: `process` of a step has the wrong parameters.
    """
    if not len(dag):
        raise DistilmqUserError(
            "The pipeline has no steps. Create them within `with Pipeline(...) as pipeline:`, beginning with a"
            " generator step such as `LoadDataFromDicts`."
        )
    _check_directions(dag)
    available: dict[str, list[str] | None] = {}
    for name in dag:
        with _named(name):
            available[name] = _check_step(dag, dag.steps[name], available)
    _check_routes(dag)
    return {name: columns for name, columns in available.items() if columns is not None}


@contextmanager
def _named(name: str) -> Generator[None]:
    """Adds the step's name to an error that lacks it: one of a file system, of the Hub, of the step's own code."""
    try:
        yield
    except Exception as error:
        if f"'{name}'" not in str(error):
            error.add_note(f"This was raised by step '{name}', which was checked before the run.")
        raise


def _check_step(dag: Dag, step: _Step, available: Mapping[str, list[str] | None]) -> list[str] | None:
    """Checks one step; returns the columns behind it, None where they are not known."""
    _check_place(dag, step)
    _check_process(dag, step)
    check_parameters(step)
    check_offline_batches(step)
    step.verify_arguments()
    step.verify_inputs_mappings()
    step.verify_outputs_mappings()
    columns = _check_columns(dag, step, available)
    _check_resources(step)
    return columns


def _check_directions(dag: Dag) -> None:
    for source, target in dag.graph.edges():
        if dag.steps[target].is_generator:
            raise DistilmqUserError(
                f"Step '{source}' is connected to the generator step '{target}', which takes no rows: the connection"
                f" is the wrong way round. Instead of `{source}.connect({target})` write `{target}.connect({source})`,"
                f" or `{target} >> {source}`."
            )


def _check_place(dag: Dag, step: _Step) -> None:
    if step.is_generator or dag.graph.predecessors(step.name):
        return
    if dag.root_route is not None and step.name in dag.root_route[1]:
        raise DistilmqUserError(
            f"The routing function '{route_name(dag.root_route[0])}' in front of step '{step.name}' doesn't have an"
            " upstream step. Pass `dataset=...` to `Pipeline.run`, or write"
            f" `generator >> {route_name(dag.root_route[0])} >> [{', '.join(dag.root_route[1])}]`."
        )
    raise DistilmqUserError(
        f"Step '{step.name}' cannot be a root step because it is not a `GeneratorStep`. Please, connect a"
        f" `GeneratorStep` to it (`generator >> {step.name}`), or pass `dataset=...` to `Pipeline.run`."
    )


def _check_process(dag: Dag, step: _Step) -> None:
    parameter = step.get_process_step_input()
    if isinstance(step, GeneratorStep):
        _check_generator(step, takes_rows=parameter is not None)
        return
    predecessors = dag.graph.predecessors(step.name)
    if len(predecessors) > 1 and not step.has_multiple_inputs():
        raise DistilmqUserError(
            f"Step '{step.name}' should have a `*args` parameter with type hint `StepInput` to receive the outputs"
            f" from the previous steps: {', '.join(predecessors)}. Write `def process(self, *inputs: StepInput)`, or"
            f" put a `GroupColumns` or `CombineOutputs` step in front of '{step.name}'."
        )
    if parameter is None:
        previous = ", ".join(repr(name) for name in predecessors)
        raise DistilmqUserError(
            f"Step '{step.name}' should have a parameter with type hint `StepInput` to receive the output from the"
            f" previous step: {previous}. Write `def process(self, inputs: StepInput)`."
        )


def _check_generator(step: GeneratorStep, *, takes_rows: bool) -> None:
    if takes_rows:
        raise DistilmqUserError(
            f"Generator step '{step.name}' should not have a parameter with type hint `StepInput` within the `process`"
            " method, since it makes rows and takes none. Write `def process(self, offset: int = 0)`."
        )
    if not any(parameter.name == "offset" for parameter in step.process_parameters):
        raise DistilmqUserError(
            f"Generator step '{step.name}' should have an `offset` parameter within the `process` method: the number"
            " of rows that are recorded when a run goes on. Write `def process(self, offset: int = 0)`."
        )


def _check_columns(dag: Dag, step: _Step, available: Mapping[str, list[str] | None]) -> list[str] | None:
    """Checks what the step takes against what is there; returns what is there behind it.

    None stands for columns that nobody knows before the run: those of a generator without rows.
    """
    predecessors = dag.graph.predecessors(step.name)
    if isinstance(step, GeneratorStep):
        columns = list(step.get_outputs())
        return None if not columns and step.num_rows() == 0 else columns
    sources = [available[name] for name in predecessors]
    if any(columns is None for columns in sources):
        return None
    columns = unique(column for columns in sources for column in columns or [])
    required = [name for name, is_required in step.get_inputs().items() if is_required]
    missing = [name for name in required if name not in columns]
    if missing:
        raise DistilmqUserError(
            f"Step '{step.name}' requires inputs {required}, but only the inputs={columns} are available, which means"
            f" that the inputs={missing} are missing or not available when the step gets to be executed in the"
            f" pipeline. Please make sure previous steps to '{step.name}' are generating the required inputs."
        )
    return step.kept_columns(columns)


def _check_resources(step: _Step) -> None:
    replicas = step.resources.replicas or 1
    if replicas > 1 and not step.is_normal:
        kind = "generator" if step.is_generator else "global"
        _log.warning(
            "Step '%s' is a %s step: it runs once, `StepResources(replicas=%d)` is not used.", step.name, kind, replicas
        )


def _check_choice(source: str, route: RoutingBatchFunction, targets: Sequence[str]) -> None:
    """Checks that there are steps to choose from, and as many as are asked for."""
    if not targets:
        raise DistilmqUserError(
            f"The routing function '{route_name(route)}' behind step '{source}' has no steps to choose from: write"
            f" `{source} >> {route_name(route)} >> [step_1, step_2]`."
        )
    if route.sample is not None and not 0 < route.sample <= len(targets):
        raise DistilmqUserError(
            f"The routing function '{route_name(route)}' behind step '{source}' cannot choose {route.sample} of the"
            f" {len(targets)} steps that follow: {', '.join(targets)}."
        )


def _check_routes(dag: Dag) -> None:
    routed: dict[str, str] = {}
    for source, route in dag.routes.items():
        _check_choice(source, route, dag.graph.successors(source))
        for target in dag.graph.successors(source):
            routed[target] = source
            _check_routed(dag, source, target)
    for name in dag:
        predecessors = dag.graph.predecessors(name)
        if len(predecessors) > 1 and all(predecessor in routed for predecessor in predecessors):
            _check_convergence(dag, name, [routed[predecessor] for predecessor in predecessors])


def _check_routed(dag: Dag, source: str, target: str) -> None:
    predecessors = dag.graph.predecessors(target)
    if len(predecessors) > 1:
        others = [name for name in predecessors if name != source]
        raise DistilmqUserError(
            f"Step '{target}' cannot have multiple predecessors when the batches of one are being routed: those of"
            f" '{source}' are, by '{route_name(dag.routes[source])}', and it takes rows of {', '.join(others)} as well."
            f" Put a step between '{source}' and '{target}'."
        )
    if dag.steps[target].is_global:
        # It takes all rows at once, whatever came in which batch.
        return
    size, upstream = batch_size(dag.steps[target]), batch_size(dag.steps[source])
    if size > upstream:
        _log.warning(
            "Step '%s' should have an `input_batch_size` equal or lower than the `input_batch_size` or `batch_size` of"
            " the previous step. It has %d, '%s' %d: its batches are put together from several routed ones, or, where"
            " the routes meet again, hold at most %d rows.",
            target, size, source, upstream, upstream,
        )  # fmt: skip
    elif upstream % size:
        _log.warning(
            "Step '%s' should have an `input_batch_size` that is a multiple of the `input_batch_size` or `batch_size`"
            " of the previous step. It has %d, '%s' %d: where the routes meet again, the last batch cut from each"
            " routed one is smaller.",
            target, size, source, upstream,
        )  # fmt: skip


def _check_convergence(dag: Dag, name: str, sources: Sequence[str]) -> None:
    if len(set(sources)) > 1:
        raise DistilmqUserError(
            f"Convergence step '{name}' should receive batches from steps receiving routed batches from the same"
            f" previous step and `routing_batch_function`. Those in front of it are routed behind"
            f" {', '.join(unique(sources))}: join each of them on its own first."
        )
    if dag.steps[name].is_global:
        return
    size = batch_size(dag.steps[name])
    for predecessor in dag.graph.predecessors(name):
        upstream = batch_size(dag.steps[predecessor])
        if size > upstream:
            _log.warning(
                "A convergence step should have an `input_batch_size` equal or lower than that of the steps in front of"
                " it. '%s' has %d, '%s' %d: it gets what one routed batch gave.",
                name, size, predecessor, upstream,
            )  # fmt: skip
            return


def batch_size(step: _Step) -> int:
    """Rows per batch: `batch_size` of a generator, `input_batch_size` of any other."""
    size = getattr(step, "batch_size" if step.is_generator else "input_batch_size", None)
    return size if isinstance(size, int) else 50
