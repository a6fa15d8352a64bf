"""pipeline/sweep."""
