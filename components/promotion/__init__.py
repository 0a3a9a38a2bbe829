"""Whether a candidate becomes the champion: settings, scores, gates, the record of what was decided. Knows no Prefect."""
