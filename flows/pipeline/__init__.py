"""One pipeline run. Read ``flow`` first, then ``plan`` (what runs), ``stages`` (one DVC stage as one task), ``conclusion``."""
