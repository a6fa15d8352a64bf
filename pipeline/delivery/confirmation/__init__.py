"""A choice is confirmed on instances that nobody had looked at: `python -m pipeline confirm`."""
