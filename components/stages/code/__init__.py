"""Stage ``code``: digests of what each stage runs through."""
