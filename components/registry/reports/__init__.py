"""Pages outside DVC: the published report of a version, and the comparison of two versions.

``published`` adds to the page of stage ``evaluate`` what differs from publication to publication: version, speed, lineage and
the table of out-of-distribution views. ``python -m components.registry.reports`` compares two versions.
"""
