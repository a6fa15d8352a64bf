"""ops/quantize."""
