"""All that touches DVC. Read ``index`` first: what DVC would run. ``entries`` and ``remote`` are programs of their own.

``lock_merge`` is Git's driver for dvc.lock, which ``merge_driver`` installs; ``graph_files`` writes the studies' dvc.yaml.
"""
