"""Settings of all tests."""

import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: pytest's timeout guards against what never ends.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run of continuous integration: a new one found there would fail a change that is not at fault.
settings.register_profile("ci", settings.get_profile("patient"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "patient")


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory):
    """Temporary files of the tests go where pytest clears up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("scratch")))
        yield
