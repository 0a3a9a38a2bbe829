"""A new champion in service against the one before it: what the scoring servers count, the comparison, the automatic return.

Read ``traffic`` first, then ``comparison`` and ``returning``. ``counting`` is the scoring server's side.
"""
