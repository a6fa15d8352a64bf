"""pipeline/store/write."""
