"""`RayPipeline`: a pipeline whose workers Ray places."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distilmq.errors import DistilmqUserError
from distilmq.pipeline.parameters import Parameters
from distilmq.pipeline.pipeline import Pipeline
from distilmq.pipeline.prepare import LoadGroups, RunOptions

if TYPE_CHECKING:
    from distilmq.distiset import Distiset
    from distilmq.pipeline.submitted_run import SubmittedRun


class RayPipeline(Pipeline):
    """A pipeline that is run on a Ray cluster: see `Pipeline.ray`.

    Each process of a step is an actor of Ray, with the CPUs, GPUs, memory, resources and labels that the step's
    `StepResources` ask for. Ray places it; batches go between this machine and the actor directly, encrypted.

    Args:
        name: as of `Pipeline`, and so are the next four.
        description: what it does.
        cache_dir: where runs are kept.
        enable_metadata: as in distilabel.
        requirements: packages that the pipeline needs.
        ray_head_node_url: of the cluster, as `ray.init` takes it; else the one of `RAY_ADDRESS`, or of this machine.
        ray_init_kwargs: more of what `ray.init` takes, such as `{"runtime_env": {...}}`; as JSON has it.
    """

    def __init__(
        self,
        name: str | None = None,
        description: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        enable_metadata: bool = False,
        requirements: list[str] | None = None,
        ray_head_node_url: str | None = None,
        ray_init_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, description, cache_dir, enable_metadata, requirements)
        self.ray_head_node_url = ray_head_node_url
        self.ray_init_kwargs = dict(ray_init_kwargs or {})

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
        """Runs the pipeline on the cluster and gives the rows of the steps that nothing follows.

        Everything is as in `Pipeline.run`. When the script ends, however it ends, none of its actors stays; run again,
        it goes on where it was.

        Args:
            parameters: as in `Pipeline.run`.
            load_groups: as in `Pipeline.run`.
            use_cache: as in `Pipeline.run`.
            storage_parameters: as in `Pipeline.run`.
            use_fs_to_pass_data: as in `Pipeline.run`.
            dataset: as in `Pipeline.run`.
            dataset_batch_size: as in `Pipeline.run`.
            logging_handlers: as in `Pipeline.run`.
            max_cost: as in `Pipeline.run`.
            max_tokens: as in `Pipeline.run`.
            broker: is refused: the pipeline brings a broker of its own.
            new: start another run, even if one of the same pipeline is unfinished.

        Raises:
            DistilmqUserError: the pipeline or an argument is wrong, or Ray is not installed; nothing was started.
            KeyboardInterrupt: the run was stopped by Ctrl+C.
            RunError: the cluster cannot be reached, or the run failed.
        """
        if broker is not None:
            raise _no_broker()
        from distilmq.pipeline.on_ray import run_on_ray

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
            elsewhere=True,
        )
        return run_on_ray(self, options, self.ray_head_node_url, self.ray_init_kwargs, new=new or not use_cache)

    def submit(self, *args: Any, **options: Any) -> SubmittedRun:
        """Is refused: the pipeline brings a broker of its own.

        Raises:
            DistilmqUserError: always.
        """
        raise _no_broker()

    def __repr__(self) -> str:
        return f"Ray{super().__repr__()}"


def _no_broker() -> DistilmqUserError:
    return DistilmqUserError(
        "A pipeline on Ray brings a broker of its own. To use one that is there, submit the pipeline itself, and have"
        " Ray start its workers: distilmq launch autoscale ray --connect worker.json"
    )
