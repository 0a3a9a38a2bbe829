"""What runs for months: servers, deployments, scoring, the monitor. Read ``supervisor`` first, then ``child``, ``deployments``.

``running`` is how all others learn what is up; ``notify`` is how people learn what happened.
"""
