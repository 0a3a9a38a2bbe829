"""Commands for the author of params.yaml: a first draft, seeds and searches, files made from it, what a change does."""
