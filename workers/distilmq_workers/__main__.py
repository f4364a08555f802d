"""`python -m distilmq_workers`: the worker program of a host."""

from __future__ import annotations

import sys

from distilmq_workers.cli import main

if __name__ == "__main__":
    sys.exit(main())
