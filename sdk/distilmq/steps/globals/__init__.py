"""Steps that take all rows at once."""
