"""The stages of the graph; ``python -m components STAGE NAME`` runs one."""
