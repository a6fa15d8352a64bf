"""Metrics. Start at `pipeline.measure.metrics.api`."""
