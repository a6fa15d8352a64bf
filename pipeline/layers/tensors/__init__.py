"""pipeline/layers/tensors."""
