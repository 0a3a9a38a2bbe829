"""Decisions about models: promote, approve, reject, rollback. Read ``decisions`` first; ``flows`` makes flows of them."""
