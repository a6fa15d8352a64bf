"""Small nets, made once for all tests."""

import pytest

from tests.pipeline.nets import make_nets


@pytest.fixture(scope="session")
def nets(tmp_path_factory):
    return make_nets(tmp_path_factory.getbasetemp() / "nets")
