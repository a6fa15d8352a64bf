"""The Layers page: what compression changed inside."""
