"""Statistics of weights and activations."""
