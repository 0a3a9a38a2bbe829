"""Cost of exports on this machine: latency, size, multiply-adds. Read ``measure`` first.

Timings differ between runs, so they are no part of a DVC out. ``python -m components.registry.latency`` prints a table.
"""
