"""Repair and removal of what processes leave behind. Read ``doctor`` (its checks fill half of the room), then ``garbage``."""
