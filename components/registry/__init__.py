"""MLflow: tracking, the model registry, promotion, monitor, scoring server. No result of a stage depends on it.

Read ``publishing`` and ``tracking`` first, then ``record`` (what is recorded) and ``promotion``.
"""
