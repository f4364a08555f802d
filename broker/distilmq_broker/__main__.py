"""`python -m distilmq_broker`: see `cli`."""

from distilmq_broker.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
