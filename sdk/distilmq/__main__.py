"""`python -m distilmq` is `distilmq`."""

from __future__ import annotations

from distilmq.cli.app import main

if __name__ == "__main__":
    main()
