"""Results in DuckDB. Write with `writer.Store`, read with `reader.open_results`; SQL users read the views."""
