"""Settings of all tests."""

import os

from hypothesis import settings

# The same examples in every run of continuous integration: a new one found there would fail a change that is not at fault.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")
