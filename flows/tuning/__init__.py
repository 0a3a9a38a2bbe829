"""Several seeds of a run (``seeds``) and a search over its settings (``sweep``: read ``search``, ``space``, ``trial``)."""
