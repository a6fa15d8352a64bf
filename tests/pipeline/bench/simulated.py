"""A machine whose time passes only by what a session does on it: budgets are tested on it, whatever the real one does."""

import itertools
from types import SimpleNamespace

import numpy as np

from pipeline.measure.timing import contention, interleave, session
from pipeline.measure.timing.loop import time_runs, warm_up
from pipeline.measure.timing.worker_client import Opened

_NANO = 1_000_000_000
_OPENING = 0.2
"""Seconds that it takes to start a process and to open a model."""


class SimulatedMachine:
    """Runs the sessions of one test. The file of a model says how many seconds a run of it takes."""

    def __init__(self, monkeypatch):
        self.nanoseconds = 0
        clock = SimpleNamespace(monotonic=self.seconds, process_time=lambda: 0.0)
        for module in (session, interleave):
            monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(
            interleave, "LoadMeter", lambda: contention.LoadMeter(clock=self.seconds, busy=self.seconds)
        )
        monkeypatch.setattr(interleave, "MeasuringProcess", lambda **options: _Process(self, **options))

    def seconds(self):
        return self.nanoseconds / _NANO

    def now(self):
        return self.nanoseconds

    def pass_by(self, seconds):
        self.nanoseconds += round(seconds * _NANO)


class _Process:
    """In the place of a measuring process: the real loops on the simulated clock."""

    def __init__(self, machine, *, model, **_):
        self._machine, self._seconds = machine, float(model.read_text())
        self._feeds = itertools.repeat({})
        self.cpu_seconds = 0.0

    def open(self):
        self._machine.pass_by(_OPENING)
        return Opened({"runtime": "simulated"}, _OPENING, self._seconds)

    def warm_up(self, rule):
        return warm_up(self, self._feeds, rule, wall=self._machine.now)

    def run(self, inputs=None, *, prime=0, timeout=None, **lengths):
        if inputs is not None:  # one run, as a session of a runtime is asked for it
            self._machine.pass_by(self._seconds)
            self.cpu_seconds += self._seconds
            return (np.zeros(1, np.float32),)
        for _ in range(prime):
            self.run({})
        return time_runs(self, self._feeds, threads=1, wall=self._machine.now, cpu=self._machine.now, **lengths)

    def peak_bytes(self):
        return 1

    def close(self): ...
