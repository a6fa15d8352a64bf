"""Version of the exported graphs, apart from the exporter so that planning need not import it."""

EXPORT_VERSION = 2
"""Raise when `pipeline.export` gives another graph for the same model: every ONNX result is then made anew."""
