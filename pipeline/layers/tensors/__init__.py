"""Reading tensors from stored models, layer by layer."""
