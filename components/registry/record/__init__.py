"""Records for MLflow, built from outs and dvc.lock alone; only tracking.py and model_registry.py import MLflow's client."""
