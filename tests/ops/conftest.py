"""Every example of every operation is applied once and shared by the tests that look at the result."""

import pytest

from tests.ops.apply import apply, snapshot
from tests.ops.examples import EXAMPLES


@pytest.fixture(scope="session")
def onnx_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


class Results:
    """Results by operation, number of the example and network."""

    def __init__(self, folder, scratch):
        self._folder, self._scratch = folder, scratch
        self._cases, self.snapshots = {}, {}

    def __call__(self, op, number, net):
        key = op, number, net
        if key not in self._cases:
            scratch = self._scratch / f"{op}-{number}-{net}"
            self._cases[key] = apply(op, EXAMPLES[op][number], net, folder=self._folder, scratch=scratch)
            self.snapshots[key] = snapshot(self._cases[key].after)
        return self._cases[key]


@pytest.fixture(scope="session")
def results(onnx_folder, tmp_path_factory):
    return Results(onnx_folder, tmp_path_factory.mktemp("results"))
