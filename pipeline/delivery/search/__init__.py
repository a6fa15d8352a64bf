"""Search: chains of a recipe that leaves values, steps and orders open are proposed, run and measured within a budget."""
