"""Factorization: a weight matrix becomes a product of smaller ones."""
