"""docs/settings.md, generated from the classes that read params.yaml. Start with ``page``."""
