"""One module per recovery method."""
