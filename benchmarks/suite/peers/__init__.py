"""Other programs that do the same, each optional."""
