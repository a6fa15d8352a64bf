"""Reading, counting, rewriting and running ONNX graphs."""
