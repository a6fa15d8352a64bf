"""Comparing selected models: candidates, encodings, sentences and cards."""
