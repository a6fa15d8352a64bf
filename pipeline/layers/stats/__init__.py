"""pipeline/layers/stats."""
