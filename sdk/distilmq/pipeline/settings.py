"""How runs behave, as the environment says; none of it changes what comes out."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import ValidationError

from distilmq.constants import LOG_LEVEL_ENV_NAME
from distilmq.errors import DistilmqUserError
from distilmq.protocol.plan import RunSettings

VARIABLES = {
    "stop_timeout": "DISTILMQ_STOP_TIMEOUT",
    "waiting_rows": "DISTILMQ_WAITING_ROWS",
    "durability": "DISTILMQ_DURABILITY",
    "log_level": LOG_LEVEL_ENV_NAME,
}
"""Field of `RunSettings` to the variable that sets it."""


def run_settings(environment: Mapping[str, str]) -> RunSettings:
    """The settings of a run.

    Raises:
        DistilmqUserError: a variable holds what it cannot.
    """
    given = {field: environment[name] for field, name in VARIABLES.items() if environment.get(name)}
    if "log_level" in given:
        given["log_level"] = given["log_level"].upper()
        if given["log_level"] not in logging.getLevelNamesMapping():
            raise DistilmqUserError(f"{LOG_LEVEL_ENV_NAME} is '{given['log_level']}', which is no level of `logging`.")
    try:
        return RunSettings.model_validate(given)
    except ValidationError as error:
        (first, *_) = error.errors()
        name = VARIABLES[str(first["loc"][0])]
        raise DistilmqUserError(f"{name} is '{environment[name]}': {first['msg']}.") from error
