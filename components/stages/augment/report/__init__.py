"""The view's report: what stage augment tells about the pictures of a view, and no training reads."""
