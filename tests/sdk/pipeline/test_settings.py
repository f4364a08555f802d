"""How the environment sets what runs do, and where their log goes."""

from __future__ import annotations

import logging

import pytest

from distilmq.errors import DistilmqUserError
from distilmq.pipeline.logs import run_logging
from distilmq.pipeline.settings import run_settings
from distilmq.protocol.plan import RunSettings


def test_without_variables_the_settings_are_those_of_the_plan() -> None:
    assert run_settings({"HOME": "/", "DISTILMQ_STOP_TIMEOUT": ""}) == RunSettings()


def test_variables_set_how_a_run_behaves() -> None:
    environment = {
        "DISTILMQ_STOP_TIMEOUT": "7.5",
        "DISTILMQ_WAITING_ROWS": "100",
        "DISTILMQ_DURABILITY": "power",
        "DISTILMQ_LOG_LEVEL": "debug",
    }

    assert run_settings(environment) == RunSettings(
        stop_timeout=7.5, waiting_rows=100, durability="power", log_level="DEBUG"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("DISTILMQ_STOP_TIMEOUT", "soon"), ("DISTILMQ_DURABILITY", "high"), ("DISTILMQ_LOG_LEVEL", "loud")],
)
def test_a_variable_that_holds_something_else_is_named(name: str, value: str) -> None:
    with pytest.raises(DistilmqUserError, match=f"{name} is '{value}'|{name} is '{value.upper()}'"):
        run_settings({name: value})


def test_loggers_are_afterwards_as_they_were() -> None:
    logger = logging.getLogger("distilmq")
    before = (logger.level, list(logger.handlers))
    handler = logging.NullHandler()

    with run_logging([handler], "DEBUG"):
        assert handler in logger.handlers
        assert logger.isEnabledFor(logging.DEBUG)

    assert (logger.level, logger.handlers) == before
