"""The views for notebooks and for Panel pages of other people: each works alone, on the functions of the served pages."""
