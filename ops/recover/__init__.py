"""ops/recover."""
