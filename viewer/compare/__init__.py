"""viewer/compare."""
