"""Folders of images that only a mirror holds, pinned by their sum: as they are, or beside the same characters in print."""
