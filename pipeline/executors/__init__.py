"""Where jobs run. Start at `pipeline.executors.api`."""
