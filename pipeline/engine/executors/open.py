"""Opening of the executor that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.engine.executors.api import Executor
from pipeline.engine.jobs import Workplace


def open_executor(name: str, workplace: Workplace, workers: int, cluster: Mapping[str, Any] | None = None) -> Executor:
    """Return an executor, to be used as a context.

    Args:
        name: `inprocess`, `local` or `ray`.
        workplace: shared by all jobs.
        workers: number of processes on this machine; `inprocess` has none of its own.
        cluster: of `ray`: options of `RayExecutor`.

    Raises:
        ClusterError: if there is no such cluster, or a node does not fit.
    """
    if name == "inprocess":
        from pipeline.engine.executors.inprocess import InProcess

        return InProcess(workplace)
    if name == "ray":
        from pipeline.engine.executors.ray import RayExecutor

        return RayExecutor(workplace, **(cluster or {}))
    from pipeline.engine.executors.local import LocalPool

    return LocalPool(workplace, workers=workers)
