"""Readers: from files and texts to arrays."""
