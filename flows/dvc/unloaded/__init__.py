"""The status of a workspace without loading DVC, whose imports alone take longer than the whole plan of fifty stages.

``declared`` reads the stages from dvc.yaml, ``hashes`` compares files with DVC's own records of their hashes, ``status`` says
which stages DVC would run. Each raises ``Unusual`` for what only DVC can tell: another form of dvc.yaml, a running DVC,
settings of DVC that it does not know. Then DVC is loaded. A test edits a workspace at random and compares the two.
"""
