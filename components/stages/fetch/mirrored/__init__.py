"""Image folders available only from a mirror, pinned by checksum: used as they are, or paired with printed characters."""
