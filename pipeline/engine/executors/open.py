"""Opening of the executor that a configuration names."""

from __future__ import annotations

from pipeline.engine.executors.api import Executor
from pipeline.engine.jobs import Workplace


def open_executor(name: str, workplace: Workplace, workers: int) -> Executor:
    """Return an executor, to be used as a context.

    Args:
        name: `inprocess` or `local`.
        workplace: shared by all jobs.
        workers: number of processes; `inprocess` has none of its own.
    """
    if name == "inprocess":
        from pipeline.engine.executors.inprocess import InProcess

        return InProcess(workplace)
    from pipeline.engine.executors.local import LocalPool

    return LocalPool(workplace, workers=workers)
