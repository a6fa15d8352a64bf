"""ops/prune."""
