"""`import distilmq.pipeline` stays light: what it loads is listed here, and what is heavy is not among it."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "datasets",
    "pandas",
    "pyarrow",
    "numpy",
    "google",
    "openai",
    "mistralai",
    "structlog",
    "PIL",
    "rich",
    "networkx",
    "huggingface_hub",
    "fsspec",
    "aiohttp",
    "httpx2",
    "torch",
}

FOREIGN = {
    "annotated_types",
    "cloudpickle",
    "cython_runtime",
    "jinja2",
    "markupsafe",
    "msgpack",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
    "yaml",
    "zmq",
}
"""Everything outside the standard library that may be loaded."""

SHOW = """
import json, sys
before = set(sys.modules)
import {module}
tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps(sorted(tops - set(sys.stdlib_module_names))))
"""


def loaded_by(module: str) -> set[str]:
    """The top packages outside the standard library that importing a module loads."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(module=module)], capture_output=True, text=True, check=True
    )
    ours = {"distilmq", "_distilmq", "__editable___distilmq_finder"}
    return {name for name in json.loads(done.stdout) if not name.startswith("_")} - ours


def test_importing_the_pipeline_loads_nothing_heavy() -> None:
    assert loaded_by("distilmq.pipeline") & HEAVY == set()


def test_importing_the_pipeline_loads_only_what_is_listed() -> None:
    assert loaded_by("distilmq.pipeline") - FOREIGN == set()


def test_importing_steps_and_models_loads_nothing_heavy() -> None:
    assert (loaded_by("distilmq.steps") | loaded_by("distilmq.models")) & HEAVY == set()
