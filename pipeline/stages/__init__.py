"""Stages: one module per kind of artifact that is made for every model."""
