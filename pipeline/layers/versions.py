"""Versions of the evidence about layers: raised when what a job writes changes, so that it is made again."""

LAYERS_VERSION = 3
ACTIVATIONS_VERSION = 1
COMPARE_VERSION = 4
TIMES_VERSION = 1
