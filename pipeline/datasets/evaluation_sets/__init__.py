"""Evaluation sets beside a data set's own: corruptions, slices and other data."""
