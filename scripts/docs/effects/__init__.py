"""The README's tables of effects, made from results."""
