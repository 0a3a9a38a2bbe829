"""Handwritten Chinese as it is published: CASIA, HCL2000, HIT-OR3C. Read first ``source``, then ``gnt``, the simplest."""
