"""Tables that list pictures: CSV, TSV, Parquet. Read first: ``table``, the source."""
