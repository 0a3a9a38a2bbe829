"""Stage ``code``: digests of the code of each stage."""
