"""Where jobs run. Start at `pipeline.engine.executors.api`."""
