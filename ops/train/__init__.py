"""ops/train."""
