"""Weights rounded to few bits in torch, group by group, onto grids that files can store."""
