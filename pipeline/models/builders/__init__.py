"""Builders of models that a recipe can name: one module each."""
