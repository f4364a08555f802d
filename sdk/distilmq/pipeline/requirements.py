"""The packages that a pipeline says it needs: by distribution name and version specifier."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from distilmq.errors import DistilmqUserError
from distilmq.mixins.secrets import nested_models
from distilmq.utils.requirements import requirements_of


def step_requirements(step: BaseModel) -> list[str]:
    """The packages that a step and the models within it say they need."""
    found = requirements_of(step)
    for name, value in vars(step).items():
        if name != "pipeline":
            for _, child in nested_models(value):
                found += step_requirements(child)
    return found


def missing_requirements(requirements: Iterable[str]) -> list[str]:
    """Those of the requirements that the environment does not meet, in order.

    Raises:
        DistilmqUserError: one of them is no requirement.
    """
    return [requirement for requirement in requirements if not _is_met(requirement)]


def check_requirements(requirements: Iterable[str]) -> None:
    """Raises when a requirement is not met.

    Raises:
        ModuleNotFoundError: with the command that installs what is missing.
    """
    missing = missing_requirements(requirements)
    if missing:
        listed = "\n".join(f"- {requirement}" for requirement in missing)
        quoted = " ".join(f"'{requirement}'" for requirement in missing)
        raise ModuleNotFoundError(
            f"Please install the following requirements to run the pipeline:\n{listed}\n\n    pip install {quoted}"
        )


def _is_met(text: str) -> bool:
    # Here, not above: few pipelines have requirements, and `import distilmq.pipeline` stays light.
    from importlib import metadata

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise DistilmqUserError(f"'{text}' is not a requirement: {error}") from error
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(installed, prereleases=True)
