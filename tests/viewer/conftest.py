"""Settings of all tests of the viewer."""

from hypothesis import settings

# a busy machine is no failure: what must be fast is measured in CPU time where it matters
settings.register_profile("viewer", deadline=None)
settings.load_profile("viewer")
