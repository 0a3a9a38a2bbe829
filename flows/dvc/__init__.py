"""Everything that uses DVC. Read ``index`` first: which stages DVC would run. ``entries`` and ``remote`` are separate programs.

``lock_merge`` is the merge driver for dvc.lock, installed by ``merge_driver``; ``graph_files`` writes the studies' dvc.yaml.
"""
