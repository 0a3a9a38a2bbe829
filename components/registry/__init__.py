"""MLflow: tracking, the model registry, promotion, monitor, scoring server. No stage's result depends on it."""
