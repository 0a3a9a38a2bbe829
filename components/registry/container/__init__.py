"""A container context for one model: the export, a server without MLflow, pinned requirements. Read ``context`` first.

``server`` and all that it imports is copied into the context.
"""
