"""Models on evaluation sets beside the data set's own."""
