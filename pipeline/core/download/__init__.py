"""pipeline/core/download."""
