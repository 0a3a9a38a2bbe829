"""One pipeline run. Read ``flow`` first, then ``plan`` (which stages run), ``stages`` (tasks), ``conclusion``."""
