"""The parent's end of a measuring process."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from pipeline.core.errors import BouillonError
from pipeline.measure.timing.loop import Samples, WarmedUp
from pipeline.measure.timing.preset import Warmup

_OPEN_SECONDS = 900.0  # torch.compile takes minutes for a large net
_EXIT_SECONDS = 10.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class MeasureError(BouillonError, RuntimeError):
    """A model cannot be measured: the message says what its runtime or its process died of."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What is known once a model is open and has run once."""

    description: Mapping[str, Any]
    load_seconds: float
    first_run_seconds: float


class MeasuringProcess:
    """A fresh process that holds one open model and runs it when told; between commands it sleeps."""

    def __init__(
        self,
        *,
        target: Mapping[str, Any],
        model: Path,
        inputs: Path,
        threads: int,
        batch: int,
        log: Path,
        plugins: Sequence[str] = (),
    ) -> None:
        self._command = {
            "target": dict(target),
            "model": str(model),
            "inputs": str(inputs),
            "threads": threads,
            "batch": batch,
            "plugins": list(plugins),
        }
        self._log = log
        self.cpu_seconds = 0.0
        """CPU time that the process had used at its last answer."""
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.measure.timing.worker_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=_environment(threads),
            )

    def open(self) -> Opened:
        """Import the runtime, open the model and run it once.

        Raises:
            MeasureError: with the runtime's reason.
        """
        answer = self._ask(self._command, _OPEN_SECONDS)
        return Opened(answer["description"], answer["load_seconds"], answer["first_run_seconds"])

    def warm_up(self, rule: Warmup) -> WarmedUp:
        """Warm up."""
        answer = self._ask({"do": "warm", **rule.model_dump()}, _OPEN_SECONDS + rule.cap)
        return WarmedUp(**{name: answer[name] for name in WarmedUp.__dataclass_fields__})

    def run(
        self, *, runs: int, seconds: float, max_seconds: float, prime: int, timeout: float, fewest: int = 1
    ) -> Samples:
        """Time one burst of runs.

        Args:
            runs: as of `time_runs`.
            seconds: likewise.
            max_seconds: likewise.
            prime: untimed runs before.
            timeout: seconds after which the process is given up.
            fewest: as of `time_runs`.
        """
        lengths = {"runs": runs, "seconds": seconds, "max_seconds": max_seconds, "prime": prime, "fewest": fewest}
        answer = self._ask({"do": "run", **lengths}, timeout)
        return Samples(np.array(answer["wall_ns"], dtype=np.int64), np.array(answer["cpu_ns"], dtype=np.int64))

    def peak_bytes(self) -> int:
        """Peak memory of opening and running the model."""
        return int(self._ask({"do": "peak"}, _EXIT_SECONDS)["peak_bytes"])

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:  # it has died with a command unread
                    continue
        try:
            self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ask(self, command: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise MeasureError(self._obituary()) from None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        if not ready:
            self._process.kill()
            raise MeasureError(f"The measuring process did not answer within {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise MeasureError(self._obituary())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise MeasureError(answer["error"])
        self.cpu_seconds = float(answer.pop("process_seconds"))
        return answer

    def _obituary(self) -> str:
        code = self._process.wait(_EXIT_SECONDS)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        last = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()][-1:]
        return f"The measuring process {how}" + (f": {last[0].strip()}" if last else "")


def _environment(threads: int) -> dict[str, str]:
    """Explicit threads for every library, none of which spins while it waits, and the parent's import path."""
    fixed = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return {
        **os.environ,
        **fixed,
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
