"""pipeline/datasets/readers."""
