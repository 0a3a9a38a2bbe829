"""Judge the pictures and labels of a dataset. Read first: near (duplicates), then label_errors, then pictures."""
