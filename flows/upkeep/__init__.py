"""Repair and garbage collection. Read ``doctor`` first (half of the modules are its checks), then ``garbage``."""
