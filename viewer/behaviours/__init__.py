"""viewer/behaviours."""
