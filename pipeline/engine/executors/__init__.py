"""Executors of jobs. Start at `pipeline.engine.executors.api`."""
