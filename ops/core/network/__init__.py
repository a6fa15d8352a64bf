"""What a network itself says: which of its tensors are one, where its channels are, which layers give its outputs."""
