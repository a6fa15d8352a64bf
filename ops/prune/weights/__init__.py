"""ops/prune/weights."""
