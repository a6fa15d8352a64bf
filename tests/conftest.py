"""Settings of all tests."""

import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: pytest's timeout guards against what never ends.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run of continuous integration: a new one found there would fail a change that is not at fault.
settings.register_profile("ci", settings.get_profile("patient"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "patient")


SLICES = 3
"""A run takes every third case of the tests that are marked `matrix`, each commit another third; BOUILLON_SLICES=1 takes all."""


def pytest_collection_modifyitems(config, items):
    """Leave out what is the turn of another commit, unless a test is asked for by name."""
    slices = int(os.environ.get("BOUILLON_SLICES", SLICES))
    if slices < 2 or any("::" in argument for argument in config.args):
        return
    turn, seen = _commit() % slices, Counter()
    chosen, others = [], []
    for item in items:
        number = None
        if item.get_closest_marker("matrix"):
            name = item.nodeid.partition("[")[0]
            number = crc32(name.encode()) + seen[name]  # tests of one case are spread over the turns too
            seen[name] += 1
        (chosen if number is None or number % slices == turn else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = chosen


def _commit() -> int:
    """The number of the commit; 0 outside of a checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-list", "--count", "HEAD"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=False)
        return int(found.stdout or 0)
    except (OSError, ValueError):
        return 0


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory):
    """Temporary files of the tests go where pytest clears up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("scratch")))
        yield
