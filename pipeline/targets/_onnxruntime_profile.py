"""Time per node, as ONNX Runtime's own profiler gives it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.targets._onnxruntime import first_line, open_runtime_session, runtime_errors
from pipeline.targets.api import NodeTime, TargetError

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

_RUNS, _SECONDS = 20, 1.0
"""At most so many runs, and after so many seconds no further one; three there are in any case."""
_LEAST = 3
_SUFFIX = "_kernel_time"


def node_times(
    model: Path,
    options: ort.SessionOptions,
    providers: Sequence[tuple[str, dict[str, Any]]],
    inputs: Mapping[str, np.ndarray],
    folder: Path,
) -> list[NodeTime]:
    """Run a model under the profiler, whose file goes to `folder`; return its nodes in the order in which they ran.

    Raises:
        TargetError: if ONNX Runtime refuses the model or fails.
    """
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = open_runtime_session(model, options, providers)
    feeds = {value.name: inputs[value.name] for value in session.get_inputs()}
    start, done = time.perf_counter(), 0
    try:
        while done <= _LEAST or (done < _RUNS and time.perf_counter() - start < _SECONDS):
            session.run(None, feeds)
            done += 1
    except runtime_errors() as error:
        raise TargetError(f"{model}: ONNX Runtime fails: {first_line(error)}") from None
    events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[str, NodeTime] = {}
    for number, event in _warm(events):
        name = event["name"].removesuffix(_SUFFIX)
        node = times.setdefault(name, NodeTime(name, event["args"].get("op_name", ""), [0.0] * (done - 1)))
        node.seconds[number] += event["dur"] / 1e6
    return list(times.values())


def _warm(events: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (run, event of a node) of all runs but the first, which warms up. A run's own event comes after its nodes'."""
    run = -1
    for event in events:
        if event.get("name") == "model_run":
            run += 1
        elif run >= 0 and event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            yield run, event
