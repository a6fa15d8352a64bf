"""Version of the exported graphs, apart from the exporter so that planning need not import it."""

LAYERS_VERSION = 4


ACTIVATIONS_VERSION = 2


COMPARE_VERSION = 5


TIMES_VERSION = 1


PREDICT_VERSION = 1


MEASURE_VERSION = 1


TIMING_VERSION = 3  # raise when the protocol changes what the figures mean: models are then timed again

EXPORT_VERSION = 2
"""Raise when `pipeline.models.onnx_export` gives another graph for the same model: every ONNX result is then made anew."""
