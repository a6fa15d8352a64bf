"""pipeline/datasets/sources."""
