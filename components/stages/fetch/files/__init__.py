"""What all sources of the user's own files share. Read first: ``pictures``, the listing that every such source makes."""
