"""Versions of the evidence about layers: raised when what a job writes changes, so that it is made again."""

LAYERS_VERSION = 4
ACTIVATIONS_VERSION = 2
COMPARE_VERSION = 5
TIMES_VERSION = 1
