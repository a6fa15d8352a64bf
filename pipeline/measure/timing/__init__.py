"""Measuring: what a model answers, how fast it runs, and what the figures are worth."""
