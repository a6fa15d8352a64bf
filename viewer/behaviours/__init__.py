"""The Behaviours page: what compression changed in predictions."""
