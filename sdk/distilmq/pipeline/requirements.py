"""The packages that a pipeline says it needs: by distribution name and version specifier."""

from __future__ import annotations

from collections.abc import Iterable

from distilmq.errors import DistilmqUserError


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
