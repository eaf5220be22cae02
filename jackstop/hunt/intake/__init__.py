"""From files, buckets and standard input to Parquet parts of events and usage; what cannot be read is set aside."""
