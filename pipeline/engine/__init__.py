"""pipeline/engine."""
