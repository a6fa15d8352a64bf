"""Unstructured pruning: scores, thresholds, allocation over layers and masks."""
