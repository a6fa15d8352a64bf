"""viewer/map."""
