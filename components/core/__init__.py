"""What everything stands on. Read first: ``batch`` (data), ``recipe`` (the protocol), ``settings``."""
