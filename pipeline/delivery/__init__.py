"""Handing models over: gates that say whether a compressed model may take the place of another."""
