"""Versions of a view: what changed between two commits. Read first: changes, then version."""
