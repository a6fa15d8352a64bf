"""Low-rank factors, and how near a network with them is to its parent."""
