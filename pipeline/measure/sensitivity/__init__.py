"""Sensitivity: the damage that one candidate does to one layer alone, what it saves, and the choice of one for each layer."""
