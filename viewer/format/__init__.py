"""Text on pages: numbers, units, metrics, colours and templates."""
