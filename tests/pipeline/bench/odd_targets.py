"""Targets that misbehave in ways that a session must notice: a plugin for its tests. Each opens any file."""

import os
import signal
import time
from typing import ClassVar

import numpy as np

from ops.core.operation import Format
from pipeline.targets.api import TargetError, target

PLUGIN = "tests.pipeline.bench.odd_targets"


def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class OddSession:
    inputs = ("pixel_values",)
    outputs = ("logits",)

    def __init__(self, run):
        self._run, self._count = run, 0

    def run(self, inputs):
        self._count += 1
        self._run(self._count)
        return (np.zeros((len(inputs["pixel_values"]), 10), np.float32),)

    def __enter__(self):
        return self

    def __exit__(self, *exc): ...


class OddTarget:
    accepts: ClassVar[Format] = Format.ONNX
    channel_multiple: ClassVar[int] = 8
    clock: ClassVar[str] = "cpu"

    def require(self): ...

    def describe(self):
        return {"runtime": "odd", "version": "1.0"}

    def open(self, model, *, threads):
        return OddSession(self.one_run)

    def kernels(self, model):
        return {}


@target("steady_test_target")
class Steady(OddTarget):
    """A millisecond of work."""

    def one_run(self, count):
        compute(0.001)


@target("costing_test_target")
class Costing(OddTarget):
    """As many seconds of the processor's time as the model's file says."""

    def open(self, model, *, threads):
        seconds = float(model.read_text())
        return OddSession(lambda count: compute(seconds))


@target("waiting_test_target")
class Waiting(OddTarget):
    """Waits as long as it works, as if it had to share its core."""

    def one_run(self, count):
        compute(0.001)
        time.sleep(0.001)


@target("slowing_test_target")
class Slowing(OddTarget):
    """Becomes slower from run to run, as a processor that grows hot."""

    def one_run(self, count):
        compute(0.0005 * (1 + count / 50))


@target("dying_test_target")
class Dying(OddTarget):
    """Is killed in mid-measurement, as when memory runs out."""

    def one_run(self, count):
        compute(0.001)
        if count == 15:
            os.kill(os.getpid(), signal.SIGKILL)


@target("printing_test_target")
class Printing(OddTarget):
    """Prints where the answers go."""

    def one_run(self, count):
        os.write(1, b"noise on standard output\n")
        compute(0.001)


@target("gpu_test_target")
class Gpu(Waiting):
    """Does its work elsewhere: only wall-clock time counts."""

    clock: ClassVar[str] = "wall"


class PickySession(OddSession):
    def run(self, inputs):
        raise TargetError(f"batches of {len(inputs['pixel_values'])} are refused")


@target("picky_test_target")
class Picky(OddTarget):
    """Refuses every batch for a reason of its own."""

    def open(self, model, *, threads):
        return PickySession(None)


@target("absent_test_target")
class Absent(OddTarget):
    """Needs a device that no machine has."""

    def require(self):
        raise TargetError("this machine has no such device")
