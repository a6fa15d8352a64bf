"""viewer/results."""
