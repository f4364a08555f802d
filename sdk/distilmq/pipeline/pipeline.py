"""`Pipeline`: steps are created within it, connected, checked and run."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping
from contextvars import Token
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from distilmq.errors import DistilmqUserError
from distilmq.graph import last_steps
from distilmq.pipeline import serialization
from distilmq.pipeline.dag import Dag
from distilmq.pipeline.last_run import LastRun
from distilmq.pipeline.parameters import Parameters, parameters_info
from distilmq.pipeline.prepare import LoadGroups, RunOptions, cache_dir_of, default_name, stages_of
from distilmq.pipeline.requirements import missing_requirements, step_requirements
from distilmq.pipeline.signatures import aggregated_signature, plan_signature, sign
from distilmq.steps.base import _Step  # pyright: ignore[reportPrivateUsage]  # distilabel's name of it
from distilmq.steps.declaring import Declaring, current_pipeline
from distilmq.steps.routing import RoutingBatchFunction
from distilmq.typing import PipelineRuntimeParametersInfo
from distilmq.utils.files import Format

if TYPE_CHECKING:
    from distilmq.distiset import Distiset
    from distilmq.pipeline.estimate import Estimate
    from distilmq.pipeline.ray import RayPipeline
    from distilmq.pipeline.submitted_run import SubmittedRun


class Pipeline:
    """Steps and how their rows flow.

    Steps that are created within `with Pipeline(...) as pipeline:` are part of it. They are connected by
    `connect` or `>>`; `run` gives a `Distiset` with a subset for each step that nothing follows.

    Args:
        name: of the pipeline; made of the names of its steps when it is not given.
        description: what it does.
        cache_dir: where runs are kept; else `DISTILMQ_CACHE_DIR`, else `~/.cache/distilmq/pipelines`.
        enable_metadata: as in distilabel, whose results hold the metadata column either way.
        requirements: packages that the pipeline needs, with version specifiers.

    Examples:
        Double some numbers:

        ```python
        from distilmq.pipeline import Pipeline
        from distilmq.steps import LoadDataFromDicts, StepInput, step

        @step(inputs=["number"], outputs=["double"])
        def double(rows: StepInput):
            yield [{**row, "double": 2 * row["number"]} for row in rows]

        with Pipeline("doubles") as pipeline:
            LoadDataFromDicts(data=[{"number": 1}, {"number": 2}]) >> double()

        distiset = pipeline.run()
        ```
    """

    def __init__(
        self,
        name: str | None = None,
        description: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        enable_metadata: bool = False,
        requirements: list[str] | None = None,
    ) -> None:
        self._name = name
        self.description = description
        self.cache_dir: Path = cache_dir_of(cache_dir)
        self.enable_metadata = enable_metadata
        self.dag = Dag()
        self.last_run: LastRun | None = None
        """What is left of the last `run` or `dry_run` in this process."""
        self._requirements = list(requirements or [])
        self._tokens: list[Token[Declaring | None]] = []

    # ------------------------------------------------------------ building

    def __enter__(self) -> Self:
        """Steps created from here on are part of this pipeline."""
        self._tokens.append(current_pipeline.set(self))
        return self

    def __exit__(self, *exc: object) -> None:
        """The pipeline around this one, if there is one, is the current one again."""
        current_pipeline.reset(self._tokens.pop())

    def add_step(self, step: _Step) -> None:
        """Takes a step in; done by the step itself.

        Raises:
            DistilmqUserError: there is a step of that name.
        """
        self.dag.add_step(step)

    def has_step(self, name: str) -> bool:
        """Whether a step has that name."""
        return self.dag.has_step(name)

    def add_edge(self, from_step: str, to_step: str) -> None:
        """Lets the rows of one step flow to another.

        Raises:
            DistilmqUserError: one of them does not exist, the edge does, or it closes a cycle.
        """
        self.dag.add_edge(from_step, to_step)

    def set_route(self, step: str, route: RoutingBatchFunction) -> None:
        """Lets a routing function choose which of its successors take a batch of the step."""
        self.dag.set_route(step, route)

    def set_root_route(self, route: RoutingBatchFunction, successors: list[str]) -> None:
        """Lets a routing function choose among these steps for the batches of `run(dataset=…)`."""
        self.dag.set_root_route(route, successors)

    # ------------------------------------------------------------ what it is

    @property
    def name(self) -> str:
        """The name given, or one made of the names of the steps."""
        return self._name or default_name(self.dag)

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def requirements(self) -> list[str]:
        """The packages that the pipeline and its steps need, sorted."""
        of_steps = [requirement for step in self.dag.steps.values() for requirement in step_requirements(step)]
        return sorted({*self._requirements, *of_steps})

    @requirements.setter
    def requirements(self, requirements: list[str]) -> None:
        self._requirements = list(requirements)

    def requirements_to_install(self) -> list[str]:
        """Those of the requirements that this environment does not meet."""
        return missing_requirements(self.requirements)

    @property
    def signature(self) -> str:
        """What identifies the output of the pipeline as it is now."""
        return plan_signature(self.dag, sign(self.dag))

    @property
    def aggregated_steps_signature(self) -> str:
        """One digest of the signatures of all steps."""
        return aggregated_signature(sign(self.dag))

    def get_runtime_parameters_info(self) -> PipelineRuntimeParametersInfo:
        """What `run(parameters=…)` can set, step by step."""
        return parameters_info(self.dag)

    def get_load_stages(self, load_groups: LoadGroups = None) -> tuple[list[list[str]], list[list[str]]]:
        """The steps that are loaded together, stage by stage, and the last steps of each stage.

        Raises:
            DistilmqUserError: a load group cannot be loaded as asked.
        """
        stages = stages_of(self.dag, load_groups)
        return stages, [last_steps(self.dag.graph, stage) for stage in stages]

    # ------------------------------------------------------------ running

    def run(
        self,
        parameters: Parameters | None = None,
        load_groups: LoadGroups = None,
        use_cache: bool = True,
        storage_parameters: Mapping[str, Any] | None = None,
        use_fs_to_pass_data: bool = False,
        dataset: Any = None,
        dataset_batch_size: int = 50,
        logging_handlers: list[logging.Handler] | None = None,
        max_cost: float | None = None,
        max_tokens: int | None = None,
        broker: str | os.PathLike[str] | None = None,
        new: bool = False,
    ) -> Distiset:
        """Runs the pipeline and gives the rows of the steps that nothing follows.

        A run that was stopped, or whose processes were killed, goes on where it was when the script runs again.

        Args:
            parameters: runtime parameters, step to parameter to value.
            load_groups: steps (or their names) that are loaded together and apart from the others, or
                `"sequential_step_execution"` for one after the other.
            use_cache: take what earlier runs recorded; False runs everything again.
            storage_parameters: `{"path": …, …}`: a URL that fsspec knows, and the arguments of that file system; a
                folder of the run where it is left out. The rows of global steps go by way of it.
            use_fs_to_pass_data: have the rows of all steps go by way of that file system. Coordinator and workers
                have to reach it; what is recorded does not depend on it.
            dataset: rows for the first steps, instead of a generator step: a list of dicts, a
                `datasets.Dataset` or a DataFrame.
            dataset_batch_size: rows per batch of `dataset`.
            logging_handlers: receive what is logged during the run.
            max_cost: US dollars. When models have cost as much, in all starts of the run together, no new request is
                sent, those in flight are awaited, and the run stops; with a higher bound it goes on.
            max_tokens: the same for tokens, input and output together.
            broker: run it there, as `submit` does, and wait: a connection file, or `tcp://HOST:PORT`. Ctrl+C only ends
                the waiting; the script, run again, follows the run that is unfinished.
            new: at a broker, start another run even so.

        Raises:
            DistilmqUserError: the pipeline or an argument is wrong; nothing was started.
            KeyboardInterrupt: the run was stopped by Ctrl+C; `last_run.distiset()` has what is done.
            SystemExit: the same, by SIGTERM or SIGHUP: the script ends with 143 or 129.
            BudgetReachedError: the run was stopped by `max_cost` or `max_tokens`; the same holds.
            StepLoadError: a step could not be loaded.
            StepError: a generator, a global step or a join raised.
        """
        options = RunOptions(
            parameters=parameters,
            load_groups=load_groups,
            use_cache=use_cache,
            storage_parameters=storage_parameters,
            use_fs_to_pass_data=use_fs_to_pass_data,
            dataset=dataset,
            dataset_batch_size=dataset_batch_size,
            logging_handlers=list(logging_handlers or []),
            max_cost=max_cost,
            max_tokens=max_tokens,
        )
        return self._run(options, broker, new=new)

    def submit(
        self,
        broker: str | os.PathLike[str] | None = None,
        parameters: Parameters | None = None,
        load_groups: LoadGroups = None,
        use_cache: bool = True,
        dataset: Any = None,
        dataset_batch_size: int = 50,
        max_cost: float | None = None,
        max_tokens: int | None = None,
        new: bool = False,
        weight: float = 1.0,
        storage_parameters: Mapping[str, Any] | None = None,
        use_fs_to_pass_data: bool = False,
    ) -> SubmittedRun:
        """Hands the pipeline to a broker, whose workers run it; returns at once.

        The script's own modules, steps, functions and data travel along. The run depends on nothing of this process.
        A run of the same pipeline that is unfinished there is attached to instead of starting another one.

        Args:
            broker: a connection file, or `tcp://HOST:PORT`; when it is None, the connection file that the environment
                variable `DISTILMQ_CONNECTION` names.
            parameters: as in `run`.
            load_groups: as in `run`.
            use_cache: as in `run`, of what earlier runs of the broker recorded.
            dataset: as in `run`.
            dataset_batch_size: as in `run`.
            max_cost: as in `run`.
            max_tokens: as in `run`.
            new: start another run even if one is unfinished.
            weight: of this run, where several want the same workers.
            storage_parameters: as in `run`, with a `path` that the broker and all workers reach.
            use_fs_to_pass_data: as in `run`.

        Raises:
            DistilmqUserError: the pipeline or an argument is wrong, or the broker refuses it.
            RunError: the broker does not answer.
        """
        options = RunOptions(
            parameters=parameters,
            load_groups=load_groups,
            use_cache=use_cache,
            dataset=dataset,
            dataset_batch_size=dataset_batch_size,
            max_cost=max_cost,
            max_tokens=max_tokens,
            storage_parameters=storage_parameters,
            use_fs_to_pass_data=use_fs_to_pass_data,
        )
        from distilmq.pipeline.submitting import submit

        return submit(self, broker, options, new=new, weight=weight)

    @classmethod
    def attach(
        cls, run: str, broker: str | os.PathLike[str] | None = None, cache_dir: str | os.PathLike[str] | None = None
    ) -> SubmittedRun:
        """A run at a broker, by its id, whoever has submitted it.

        Args:
            run: its id.
            broker: as in `submit`.
            cache_dir: where its dataset is put; as of a pipeline.

        Raises:
            DistilmqUserError: the broker has no such run.
        """
        from distilmq.pipeline.submitting import attached

        return attached(broker, run, cache_dir_of(cache_dir))

    def dry_run(
        self,
        parameters: Parameters | None = None,
        batch_size: int = 1,
        dataset: Any = None,
        load_groups: LoadGroups = None,
        use_cache: bool = False,
        storage_parameters: Mapping[str, Any] | None = None,
        use_fs_to_pass_data: bool = False,
        dataset_batch_size: int = 50,
        logging_handlers: list[logging.Handler] | None = None,
        max_cost: float | None = None,
        max_tokens: int | None = None,
    ) -> Distiset:
        """Runs one batch of `batch_size` rows of each generator through the pipeline.

        When models were asked, it says what a run will take, as `estimate` does.

        Everything else is as in `run`, except that nothing is read from earlier runs or left for later ones:
        `use_cache` and `dataset_batch_size` are taken for the sake of a common call, and have no effect.

        Args:
            parameters: as in `run`.
            batch_size: rows in the one batch of each generator.
            dataset: as in `run`.
            load_groups: as in `run`.
            use_cache: has no effect.
            storage_parameters: as in `run`.
            use_fs_to_pass_data: as in `run`.
            dataset_batch_size: has no effect.
            logging_handlers: as in `run`.
            max_cost: as in `run`.
            max_tokens: as in `run`.
        """
        options = RunOptions(
            parameters=parameters,
            load_groups=load_groups,
            use_cache=False,
            storage_parameters=storage_parameters,
            use_fs_to_pass_data=use_fs_to_pass_data,
            dataset=dataset,
            dataset_batch_size=dataset_batch_size,
            logging_handlers=list(logging_handlers or []),
            dry_run=batch_size,
            max_cost=max_cost,
            max_tokens=max_tokens,
        )
        return self._launch(options)

    def estimate(
        self,
        rows: int | None = None,
        sample: int = 5,
        parameters: Parameters | None = None,
        dataset: Any = None,
        max_cost: float | None = None,
        max_tokens: int | None = None,
    ) -> Estimate:
        """Estimates what a run will take: requests, tokens, money and time, for each step and in all.

        The first rows are run through the pipeline, as by `dry_run`: their requests are sent and paid for, and
        nothing of them is kept. The estimate says how many there were.

        Args:
            rows: how many rows each generator will give; those that it is known to give when it is None.
            sample: how many rows of each generator to try; no more than there will be.
            parameters: as in `run`.
            dataset: as in `run`.
            max_cost: as in `run`, for the rows that are tried.
            max_tokens: as in `run`, for the rows that are tried.

        Raises:
            DistilmqUserError: nobody knows how many rows there will be, or something of what `run` says.
        """
        if rows is not None and rows < 1:
            raise DistilmqUserError(f"`rows` of an estimate has to be at least 1, not {rows}")
        options = RunOptions(
            parameters=parameters,
            use_cache=False,
            dataset=dataset,
            dry_run=sample if rows is None else min(sample, rows),
            max_cost=max_cost,
            max_tokens=max_tokens,
            estimating=True,
            estimate_rows=rows,
        )
        from distilmq.pipeline.launch import try_out

        return try_out(self, options)

    def _run(self, options: RunOptions, broker: str | os.PathLike[str] | None, *, new: bool) -> Distiset:
        """What `run` does with its arguments."""
        if broker is None:
            return self._launch(options)
        from distilmq.pipeline.submitting import run_at_broker

        return run_at_broker(self, broker, options, self._keep, new=new)

    def _launch(self, options: RunOptions) -> Distiset:
        # Here, not above: a module that only builds a pipeline need not know how to run it.
        from distilmq.pipeline.launch import launch

        return launch(self, options, self._keep)

    def _keep(self, last_run: LastRun) -> None:
        self.last_run = last_run

    # ------------------------------------------------------------ sharing

    def dump(self, **options: Any) -> dict[str, Any]:
        """The pipeline as plain data, without secrets."""
        return serialization.dump_pipeline(self)

    def save(
        self, path: str | os.PathLike[str] | None = None, format: Format = "json", dump: dict[str, Any] | None = None
    ) -> None:
        """Writes the dump (or the one given) as JSON or YAML; a folder gets a file named `distilmq-file`."""
        serialization.save_pipeline(self, path, format, dump)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], trust_remote_code: bool = False) -> Self:
        """Builds the pipeline that was dumped, by distilmq or by distilabel 1.5.

        Args:
            data: what `dump` gave.
            trust_remote_code: import classes that are not distilmq's, too.

        Raises:
            DistilmqUserError: the dump is none of a pipeline, or names a class that is not trusted.
        """
        return serialization.load_pipeline(cls, data, trust_remote_code=trust_remote_code)

    @classmethod
    def from_json(cls, path: str | os.PathLike[str], trust_remote_code: bool = False) -> Self:
        """Builds the pipeline that was saved as JSON."""
        return cls.from_dict(serialization.read_file(path, "json"), trust_remote_code)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], trust_remote_code: bool = False) -> Self:
        """Builds the pipeline that was saved as YAML."""
        return cls.from_dict(serialization.read_file(path, "yaml"), trust_remote_code)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], trust_remote_code: bool = False) -> Self:
        """Builds the pipeline that was saved; the suffix of the file says how."""
        return cls.from_dict(serialization.read_file(path, None), trust_remote_code)

    @classmethod
    def from_url(cls, url: str, trust_remote_code: bool = False) -> Self:
        """Builds the pipeline that was saved under a URL."""
        return cls.from_dict(serialization.read_url(url), trust_remote_code)

    # ------------------------------------------------------------ showing

    def draw(
        self,
        path: str | os.PathLike[str] = "pipeline.png",
        top_to_bottom: bool = False,
        show_edge_labels: bool = True,
    ) -> str:
        """Paints the pipeline, and writes the mermaid source of the picture beside it.

        Args:
            path: of the PNG file.
            top_to_bottom: instead of left to right.
            show_edge_labels: write the columns that each step adds on its arrows.

        Returns:
            The path of the PNG file.
        """
        from distilmq.pipeline.draw import draw

        return draw(self.dag, Path(path), top_to_bottom=top_to_bottom, show_edge_labels=show_edge_labels)

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows."""
        from distilmq.pipeline.draw import png

        return png(self.dag) if len(self.dag) else None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows, with the text beside the picture."""
        picture = self._repr_png_()
        return {"text/plain": repr(self), **({"image/png": picture} if picture is not None else {})}

    def __repr__(self) -> str:
        return f"Pipeline(name={self.name!r}, steps=[{', '.join(self.dag)}])"

    def ray(self, ray_head_node_url: str | None = None, ray_init_kwargs: dict[str, Any] | None = None) -> RayPipeline:
        """The same pipeline, to be run on a Ray cluster: `pipeline.ray().run()`.

        It needs `pip install 'distilmq[ray]'`, here and on the nodes.

        Args:
            ray_head_node_url: of the cluster, as `ray.init` takes it; else what `RAY_ADDRESS` says, or a Ray of this
                machine.
            ray_init_kwargs: more of what `ray.init` takes.
        """
        # By its name: that module builds on this one.
        kind: type[RayPipeline] = importlib.import_module("distilmq.pipeline.ray").RayPipeline
        pipeline = kind(
            self._name,
            self.description,
            self.cache_dir,
            self.enable_metadata,
            self._requirements,
            ray_head_node_url,
            ray_init_kwargs,
        )
        pipeline.dag = self.dag
        return pipeline
