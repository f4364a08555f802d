"""Steps that put columns together, take them apart, rename or drop them."""
