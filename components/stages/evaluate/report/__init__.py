"""The report of a run: one HTML file that needs nothing else. Read ``page`` first, then ``build``.

The page is made of sections, and a section of blocks (facts, tables, figures, galleries); ``render`` turns them into HTML.
What differs between two runs of the same inputs (latency, lineage, versions) is no part of it: ``components.registry.reports``
adds that to the copy which it publishes.
"""
