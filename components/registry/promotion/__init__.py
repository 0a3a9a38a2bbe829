"""Promotion of a candidate to champion: settings, scores, gates, audit log. Does not import Prefect.

Read ``gates`` first, then ``verdict``, ``contest`` and ``journal``.
"""

UNFIT, CHAMPION_UNFIT = 4, 5  # exit codes of ``python -m components.registry.promotion``
UNFIT_WORD = "unfit: "  # precedes the reason on stderr
