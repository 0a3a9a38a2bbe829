"""Links between runs: pointer files that stages depend on, so that a new link needs no edit of dvc.yaml."""
