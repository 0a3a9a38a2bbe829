"""What served code has in common. It is shipped beside that code and needs numpy and onnxruntime alone."""
