"""viewer/format."""
