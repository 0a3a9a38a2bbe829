"""Hugging Face data sets: pictures in the rows of Arrow and Parquet files. Read first: ``huggingface``, the source."""
