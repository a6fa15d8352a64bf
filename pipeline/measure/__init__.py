"""Measuring: predictions, metrics, timings, and lints on what was measured."""
