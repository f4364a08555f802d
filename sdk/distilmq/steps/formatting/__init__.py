"""Steps that bring rows into the shape that a kind of training takes."""
