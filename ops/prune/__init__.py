"""Pruning: weights become zero, or channels are cut out."""
