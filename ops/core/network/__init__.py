"""Facts that a network itself states: tensors that are one, the places of channels, the layers that give its outputs."""
