"""Quantization, and what prepares for it or imitates it."""
