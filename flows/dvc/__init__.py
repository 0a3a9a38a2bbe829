"""All that touches DVC. Read ``index`` first: what DVC would run. ``entries`` and ``remote`` are programs of their own."""
