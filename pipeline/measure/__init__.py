"""pipeline/measure."""
