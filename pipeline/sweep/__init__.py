"""A sweep: one run of a recipe, from its configuration to the published results."""
