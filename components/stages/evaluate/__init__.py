"""Stage 5, evaluate: the recipe's metrics, on what will be served."""
