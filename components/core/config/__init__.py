"""The blocks of params.yaml: strict parsing, structure, references. Read ``strict``, then ``params``."""
