"""Shared modules of served code, shipped with every export. They need only numpy and onnxruntime."""
