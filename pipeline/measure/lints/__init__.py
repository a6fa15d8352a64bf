"""Lints: what is odd about a model, the measurement that shows it, and what to try. Start at `pipeline.measure.lints.api`."""
