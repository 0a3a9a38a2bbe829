"""The source ``audio``: recordings become log-mel pictures. Read ``source`` first."""
