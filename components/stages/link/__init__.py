"""Edges between runs: pointer files that stages depend on, so that a new link never edits dvc.yaml."""
