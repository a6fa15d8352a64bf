"""viewer/layers."""
