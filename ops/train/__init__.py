"""Roots of a recipe, and operations that train."""
