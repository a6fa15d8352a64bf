"""Commands other than a run: one function each, with what it takes."""
