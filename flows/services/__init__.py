"""Long-lived services: servers, deployments, scoring, monitor. Read ``supervisor`` first, then ``child``, ``deployments``.

``running`` tells other processes which servers are up; ``notify`` sends notifications.
"""
