"""`RayPipeline`: a pipeline whose workers Ray places."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from distilmq.errors import DistilmqUserError
from distilmq.pipeline.pipeline import Pipeline
from distilmq.pipeline.prepare import RunOptions

if TYPE_CHECKING:
    from distilmq.distiset import Distiset
    from distilmq.pipeline.submitted_run import SubmittedRun


class RayPipeline(Pipeline):
    """A pipeline that is run on a Ray cluster: see `Pipeline.ray`.

    Each process of a step is an actor of Ray, with the CPUs, GPUs, memory, resources and labels that the step's
    `StepResources` ask for. Ray places it; batches go between this machine and the actor directly, encrypted.

    `run` is that of `Pipeline`, but for `broker`, which is refused: the pipeline brings a broker of its own; `new` has
    it start another run, even if one of the same pipeline is unfinished. When the script ends, however it ends, none of
    its actors stays; run again, it goes on where it was. A cluster that cannot be reached is a `RunError`.

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

    def _run(self, options: RunOptions, broker: str | os.PathLike[str] | None, *, new: bool) -> Distiset:
        if broker is not None:
            raise _no_broker()
        from distilmq.pipeline.on_ray import run_on_ray

        return run_on_ray(
            self,
            replace(options, elsewhere=True),
            self.ray_head_node_url,
            self.ray_init_kwargs,
            self._keep,
            new=new or not options.use_cache,
        )

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
