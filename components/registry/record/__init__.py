"""What MLflow is told, read from outs and dvc.lock alone; only tracking.py and registry.py speak to MLflow."""
