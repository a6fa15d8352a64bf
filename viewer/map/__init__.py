"""The model map and the scatterplot: layout, ribbons and figures."""
