"""A sweep of one root, to which tests add what is odd."""

import pytest

from tests.pipeline.lints.sweep_rows import Sweep


@pytest.fixture
def sweep():
    made = Sweep()
    made.model("base", op="train", kind="base", macs=100.0, file_bytes=4e6)
    return made
