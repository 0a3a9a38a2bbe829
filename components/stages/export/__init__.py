"""Stage 4, export: ONNX graphs, checked against torch."""
