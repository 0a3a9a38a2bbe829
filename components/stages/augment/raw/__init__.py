"""Read a fetched dataset: pictures in one of four layouts, with their annotations."""
