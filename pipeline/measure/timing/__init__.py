"""Timing: interleaved measurements in fresh processes, and what the figures are worth."""
