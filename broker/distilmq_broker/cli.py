"""The command line of the coordinator: `run --dir RUN_DIR --endpoint ENDPOINT --cache-dir CACHE_DIR`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the result is the exit code."""
    parsed = _parser().parse_args(arguments)
    # Here, not above: `--help` needs none of it.
    from distilmq_broker.coordinator_process import run_coordinator
    from distilmq_broker.settings import read_settings

    try:
        settings = read_settings(
            parsed.dir,
            parsed.endpoint,
            parsed.cache_dir,
            lifeline=parsed.lifeline,
            broker=parsed.broker,
            read_only=parsed.read_only,
            environment=os.environ,
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return run_coordinator(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="distilmq_broker", description="The coordinator of one pipeline run.")
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="coordinate one run until its client closes it")
    run.add_argument("--dir", required=True, help="folder of the run: plan, ledger, payloads, log")
    run.add_argument("--endpoint", required=True, help="where to listen, such as ipc:///tmp/x/c")
    run.add_argument("--cache-dir", default="", help="folder of all runs (default: two levels above --dir)")
    run.add_argument(
        "--lifeline",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="stop when standard input ends: the client is gone then",
    )
    run.add_argument("--broker", action="store_true", help="the endpoint is that of the broker which starts this")
    run.add_argument("--read-only", action="store_true", help="only answer what is asked about a run that is over")
    return parser
