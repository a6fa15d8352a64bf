"""ops/recover/methods."""
