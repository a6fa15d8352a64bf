"""The engine: jobs, the runner that orders them, the worker that runs one, and executors."""
