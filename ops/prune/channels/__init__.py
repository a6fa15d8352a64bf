"""Channel pruning: groups that change together, the budget, the cut and its verification."""
