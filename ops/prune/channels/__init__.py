"""ops/prune/channels."""
