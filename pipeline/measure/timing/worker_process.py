"""A process that measures one model: `python -m pipeline.measure.timing.worker_process`, commanded by JSON lines on its standard input.

A fresh process has no other model's memory, threads or caches in it. It answers each command with one JSON line. Errors
of the runtime are answers too; anything else ends the process, and its trace is in the log that the parent keeps.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from pipeline.core.plugins import load_plugins
from pipeline.measure.timing.inputs import InputsError, batches, mean_tokens, read_inputs
from pipeline.measure.timing.loop import Feeds, time_runs, warm_up
from pipeline.measure.timing.memory import peak_bytes, reset_peak
from pipeline.measure.timing.preset import Warmup
from pipeline.targets.api import Session, TargetError, takes_one_length
from pipeline.targets.open import open_target


class _Measured:
    """The open model."""

    def __init__(self, command: Mapping[str, Any]) -> None:
        load_plugins(command["plugins"])
        target = open_target(command["target"])
        target.require()
        self.description = target.describe()  # imports the runtime
        arrays = read_inputs(Path(command["inputs"]))
        self._threads = int(command["threads"])
        self._baseline = reset_peak()
        start = time.perf_counter()
        self._session: Session = target.open(Path(command["model"]), threads=self._threads)
        self.load_seconds = time.perf_counter() - start
        padded = takes_one_length(self._session)
        output = batches(arrays, self._session.inputs, int(command["batch"]), padded=padded)
        tokens = mean_tokens(output)
        if tokens is not None:
            self.description = {**self.description, "tokens": round(tokens, 1)}
        self._feeds: Feeds = itertools.cycle(output)
        first = next(self._feeds)
        start = time.perf_counter()
        self._session.run(first)
        self.first_run_seconds = time.perf_counter() - start

    def warm(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        """Warm up and say how it went."""
        result = warm_up(self._session, self._feeds, Warmup.model_validate(rule))
        return {
            "runs": result.runs,
            "seconds": result.seconds,
            "stable": result.stable,
            "run_seconds": result.run_seconds,
            "valid": result.valid,
        }

    def run(self, *, runs: int, seconds: float, max_seconds: float, prime: int, fewest: int) -> dict[str, Any]:
        """Time a burst; `prime` untimed runs before it bring the model back into the caches."""
        for _ in range(prime):
            self._session.run(next(self._feeds))
        samples = time_runs(
            self._session,
            self._feeds,
            threads=self._threads,
            runs=runs,
            seconds=seconds,
            max_seconds=max_seconds,
            fewest=fewest,
        )
        return {"wall_ns": samples.wall_ns.tolist(), "cpu_ns": samples.cpu_ns.tolist()}

    def peak(self) -> dict[str, Any]:
        """Peak memory since just before the model was opened, above what the process held then."""
        return {"peak_bytes": max(0, peak_bytes() - self._baseline)}


def _answers(commands: Iterator[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    first = next(commands, None)
    if first is None:
        return
    measured = _Measured(first)
    yield {
        "description": measured.description,
        "load_seconds": measured.load_seconds,
        "first_run_seconds": measured.first_run_seconds,
    }
    for command in commands:
        arguments = {key: value for key, value in command.items() if key != "do"}
        match command["do"]:
            case "warm":
                yield measured.warm(arguments)
            case "run":
                yield measured.run(**arguments)
            case "peak":
                yield measured.peak()


def serve_commands() -> None:
    """Answer commands until there are no more."""
    answers = _private_stdout()
    commands = (json.loads(line) for line in sys.stdin)
    try:
        for answer in _answers(commands):
            _say(answers, {**answer, "process_seconds": time.process_time()})
    except (TargetError, InputsError) as error:
        _say(answers, {"error": str(error)})


def _private_stdout() -> TextIO:
    """Keep standard output for answers alone: what libraries print goes to the log."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


def _say(answers: TextIO, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    serve_commands()
