"""The views for notebooks and for Panel pages of other people: map, scatterplot, table, comparison, behaviours and layers,
each alone, on the functions of the served pages."""
