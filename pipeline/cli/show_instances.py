"""Instances of a data set by id, for the viewer: ids come in on standard input, JSON goes out, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from ops.core.tasks.task import TASKS
from pipeline.datasets.api import DataError, Dataset

__all__ = ["answer"]


def answer(data: Dataset, lines: Iterable[str]) -> Iterator[str]:
    """Yield one line of JSON for each line that names an instance; what cannot be shown gives {"problem": ...}."""
    task = TASKS[data.task]
    for line in lines:
        try:
            yield json.dumps(task.show(data.show(str(json.loads(line)))))
        except (DataError, LookupError, OSError, ValueError) as error:
            yield json.dumps({"problem": str(error)})
