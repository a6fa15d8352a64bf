"""ops/quantize/methods."""
