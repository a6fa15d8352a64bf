"""ops/factorize."""
