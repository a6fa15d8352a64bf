"""ONNX files of other tools in the form that everything here expects."""
