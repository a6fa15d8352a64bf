"""ops/core."""
