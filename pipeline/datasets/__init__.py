"""Data sets. Start at `pipeline.datasets.api`."""
