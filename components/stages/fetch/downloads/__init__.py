"""Download published files and verify their checksums. Read first: ``bring``."""
