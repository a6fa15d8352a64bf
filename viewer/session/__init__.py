"""viewer/session."""
