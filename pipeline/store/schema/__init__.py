"""The tables and views of the store."""
