"""Settings of all tests."""

import os
import tempfile

import pytest
from hypothesis import settings

# The same examples in every run of continuous integration: a new one found there would fail a change that is not at fault.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory):
    """Temporary files of the tests go where pytest clears up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("scratch")))
        yield
