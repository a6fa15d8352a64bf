"""pipeline/layers/compare."""
