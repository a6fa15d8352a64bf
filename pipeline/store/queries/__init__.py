"""pipeline/store/queries."""
