"""Where a pipeline on the command line comes from: a saved file, or a script, here or under a URL."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, cast

from distilmq.errors import DistilmqUserError
from distilmq.pipeline import Pipeline

_TIMEOUT = 30.0


def is_url(source: str) -> bool:
    """Whether a source has to be fetched."""
    return urllib.parse.urlsplit(source).scheme in ("http", "https")


def pipeline_from_config(source: str, *, trust_remote_code: bool) -> Pipeline:
    """The pipeline that was saved in a file or under a URL.

    Raises:
        DistilmqUserError: there is none.
    """
    if is_url(source):
        return Pipeline.from_url(source, trust_remote_code=trust_remote_code)
    return Pipeline.from_file(source, trust_remote_code=trust_remote_code)


def pipeline_from_script(source: str, variable: str) -> Pipeline:
    """The pipeline that a script has in a variable; the script is run to get it.

    Raises:
        DistilmqUserError: there is no such script, or it has no pipeline there.
    """
    if not is_url(source):
        return _load(Path(source), variable)
    with tempfile.TemporaryDirectory(prefix="distilmq-script-") as folder:
        script = Path(folder) / (Path(urllib.parse.urlsplit(source).path).name or "script.py")
        script.write_bytes(_fetch(source))
        return _load(script, variable)


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # http(s) only, see `is_url`
            return cast("IO[bytes]", answer).read()
    except OSError as error:
        raise DistilmqUserError(f"'{url}' cannot be read: {error}") from error


def _load(script: Path, variable: str) -> Pipeline:
    if not script.is_file():
        raise DistilmqUserError(f"File '{script}' does not exist.")
    if script.suffix != ".py":
        raise DistilmqUserError(f"'{script.name}' is not a Python script: its name has to end with `.py`.")
    # A name that no module has: the script's classes go to the workers by value.
    name = f"distilmq_script_{script.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None:
        raise DistilmqUserError(f"'{script}' cannot be loaded.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(script.resolve().parent))  # as when Python runs a script
    spec.loader.exec_module(module)
    found = getattr(module, variable, None)
    if not isinstance(found, Pipeline):
        raise DistilmqUserError(
            f"'{script.name}' has no pipeline in the variable '{variable}': name the variable it is in by"
            " `--pipeline-variable-name`."
        )
    return found
