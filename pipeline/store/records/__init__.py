"""Records: one class per table of the store."""
