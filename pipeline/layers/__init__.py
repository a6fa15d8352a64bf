"""The inside of models: values, changes and activations, layer by layer. Start at `pipeline.layers.tensors.open`."""
