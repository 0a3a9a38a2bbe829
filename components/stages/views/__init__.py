"""Read views. Read first: ``view``, then ``loader``, which provides training batches."""
