"""Stages of language models alone."""
