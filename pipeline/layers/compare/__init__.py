"""Comparison of layers between models: alignment, differences and findings."""
