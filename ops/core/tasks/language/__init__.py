"""The task of language models."""
