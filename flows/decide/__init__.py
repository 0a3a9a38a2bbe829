"""Decisions about models: promote, approve, reject, rollback. Read ``decisions`` first; ``flows`` wraps them in flows."""
