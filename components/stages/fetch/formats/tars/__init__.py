"""WebDataset: pictures in tars. Read first: ``webdataset``, the source."""
