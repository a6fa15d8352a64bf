"""Tasks: what a model is asked, and when it is right. Start at `ops.core.tasks.task`; each task is a module."""
