"""Whether a candidate becomes the champion: settings, scores, gates, the record of what was decided. Knows no Prefect."""

UNFIT, CHAMPION_UNFIT = 4, 5  # exit codes of ``python -m components.registry.promotion``
UNFIT_WORD = "unfit: "  # what stands before the reason
