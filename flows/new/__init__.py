"""``new``: from pictures to a dataset, a view and a run in params.yaml. Read ``table`` and ``rules`` first, then ``write``."""
