"""Shared foundations. Read first: ``batch`` (data), ``recipe`` (the protocol), ``settings``."""
