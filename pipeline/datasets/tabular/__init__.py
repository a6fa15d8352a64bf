"""pipeline/datasets/tabular."""
