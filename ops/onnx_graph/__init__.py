"""ops/onnx_graph."""
