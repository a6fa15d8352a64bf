"""Writing records in bulk, and transactions."""
