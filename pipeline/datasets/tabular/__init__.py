"""Tables (CSV, JSON lines, Parquet) as data sets, by task."""
