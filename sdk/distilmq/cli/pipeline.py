"""`distilmq pipeline run` and `distilmq pipeline info`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Optional

import typer
from pydantic import ValidationError

from distilmq.cli.info import show
from distilmq.cli.parameters import parse_parameters
from distilmq.cli.sources import is_url, pipeline_from_config, pipeline_from_script
from distilmq.errors import RunError
from distilmq.pipeline import Pipeline
from distilmq.pipeline.attached import attached
from distilmq.pipeline.finding import find_run
from distilmq.pipeline.prepare import cache_dir_of
from distilmq.utils.huggingface import get_hf_token
from distilmq.utils.mistakes import fail, told

app = typer.Typer(no_args_is_help=True, help="Run and look at pipelines that were saved.")

Config = Annotated[
    Optional[str],  # noqa: UP045  # typer reads the annotation
    typer.Option(help="Path or URL of a saved pipeline (.yaml, .yml or .json)."),
]
Script = Annotated[
    Optional[str],  # noqa: UP045  # ditto
    typer.Option(help="Path or URL of a Python script that makes the pipeline; it is run to get it."),
]
Variable = Annotated[str, typer.Option(help="The script's variable with the pipeline.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Load classes that are not distilmq's, too.")]


@app.command()
def run(
    param: Annotated[
        Optional[list[str]],  # noqa: UP045  # ditto
        typer.Option(help="A runtime parameter: `step.key=value` or `step.llm.key=value`. Can be given repeatedly."),
    ] = None,
    config: Config = None,
    script: Script = None,
    pipeline_variable_name: Variable = "pipeline",
    ignore_cache: Annotated[bool, typer.Option("--ignore-cache", help="Take nothing that earlier runs did.")] = False,
    max_cost: Annotated[
        Optional[float],  # noqa: UP045  # ditto
        typer.Option(help="Stop the run when its models have cost as many US dollars; run with more to go on."),
    ] = None,
    max_tokens: Annotated[
        Optional[int],  # noqa: UP045  # ditto
        typer.Option(help="Stop the run when its models have taken as many tokens, in and out."),
    ] = None,
    broker: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(
            help="Run it there and follow it, whoever began it: a broker's connection file for clients; or its"
            " tcp://HOST:PORT, with DISTILMQ_CONNECTION naming the file. Else it runs on this machine."
        ),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Begin another run even if one of this pipeline is unfinished at the broker.")
    ] = False,
    repo_id: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option(help="Dataset repository on the Hub to push the result to."),
    ] = None,
    commit_message: Annotated[Optional[str], typer.Option(help="Of the push.")] = None,  # noqa: UP045  # ditto
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    token: Annotated[Optional[str], typer.Option(help="Hub token for the push.")] = None,  # noqa: UP045  # ditto
    trust_remote_code: Trust = False,
) -> None:
    """Run a pipeline that was saved, or that a script makes: here, or at a broker."""
    if new and broker is None:
        fail("`--new` is about runs of a broker: say with `--broker` which.")
    with told(RunError, ModuleNotFoundError, ValidationError), _interruptible():
        pipeline = _pipeline(config, script, pipeline_variable_name, trust_remote_code)
        parameters = parse_parameters(param or [], pipeline.dag.steps)
        if repo_id is not None:  # before the run, whose hours would not bring a token
            token = token or get_hf_token("--repo-id", "--token")
        distiset = pipeline.run(
            parameters=parameters,
            use_cache=not ignore_cache,
            max_cost=max_cost,
            max_tokens=max_tokens,
            broker=broker,
            new=new,
        )
    if repo_id is not None:
        distiset.push_to_hub(repo_id, private=private, token=token, commit_message=commit_message)
        return
    print(distiset)


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="A run's directory or id, or a pipeline's name for its latest run.")],
    cache_dir: Annotated[
        Optional[str],  # noqa: UP045  # ditto
        typer.Option("--cache-dir", help="Where runs are kept; else DISTILMQ_CACHE_DIR, else the user's cache."),
    ] = None,
) -> None:
    """Go on with a run that has paused, since too many rows of a step failed."""
    with told(RunError):
        directory = find_run(run, cache_dir_of(cache_dir))
        attached(directory, lambda client: client.resume())
    print(f"The run in {directory} goes on.")


@app.command()
def info(
    config: Config = None,
    script: Script = None,
    pipeline_variable_name: Variable = "pipeline",
    trust_remote_code: Trust = False,
) -> None:
    """Show what a pipeline that was saved, or that a script makes, does and which parameters it takes."""
    with told(ValidationError):
        pipeline = _pipeline(config, script, pipeline_variable_name, trust_remote_code)
    show(pipeline)


def _pipeline(config: str | None, script: str | None, variable: str, trust_remote_code: bool) -> Pipeline:
    if config is None and script is None:
        fail("`--config` or `--script` must be informed.")
    if config is not None and script is not None:
        fail("Only one of `--config` or `--script` can be informed.")
    if config is not None:
        return pipeline_from_config(config, trust_remote_code=trust_remote_code)
    assert script is not None  # for the type checker: one of the two is given
    if is_url(script) and not trust_remote_code:
        typer.confirm(f"Running a pipeline from a script runs all of its code. Do you trust {script}?", abort=True)
    return pipeline_from_script(script, variable)


@contextmanager
def _interruptible() -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # how to go on has been said
