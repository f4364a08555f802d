"""The coordinator process: it owns the DAG, the batch ledger and the one public socket of a run."""
