"""`python -m distilmq_workers`: the worker program of a host."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from distilmq.transport.zeromq import connect
from distilmq_workers.supervisor import Supervisor


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a supervisor; returns its exit code."""
    parser = argparse.ArgumentParser(prog="distilmq worker", description="Run steps for a coordinator.")
    parser.add_argument("--endpoint", required=True, help="where the coordinator listens")
    parser.add_argument("--worker", required=True, help="the name by which it knows this host")
    parser.add_argument("--slots", type=int, default=1, help="how many step processes to keep")
    parser.add_argument("--lifeline", action="store_true", help="leave when standard input ends")
    options = parser.parse_args(arguments)
    supervisor = Supervisor(
        connect(options.endpoint),
        endpoint=options.endpoint,
        worker=options.worker,
        slots=options.slots,
        lifeline=sys.stdin.fileno() if options.lifeline else None,
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
