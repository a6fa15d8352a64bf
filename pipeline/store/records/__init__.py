"""pipeline/store/records."""
