"""The tables of effects in the operations guide, made from results."""
