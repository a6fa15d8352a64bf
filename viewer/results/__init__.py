"""The published results as objects: queries, lineage, ranking, budgets and notes."""
