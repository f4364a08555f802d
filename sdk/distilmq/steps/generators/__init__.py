"""Steps that rows come from."""
