"""Queries of the results that more than one caller needs."""
