"""Branches: steps that are added below a model that is there, asked for on the page and run by a worker."""
