"""pipeline/store/schema."""
