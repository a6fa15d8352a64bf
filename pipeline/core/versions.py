"""Versions of what is computed from models, by stage: raise one, and that is computed anew. Planning reads them."""

from __future__ import annotations

EXPORT_VERSION = 3
LAYERS_VERSION = 6
ACTIVATIONS_VERSION = 3
COMPARE_VERSION = 6
TIMES_VERSION = 2
PREDICT_VERSION = 2
MEASURE_VERSION = 2
TIMING_VERSION = 4
"""Of the timing protocol: a change of what its figures mean raises it, and models are timed again."""
