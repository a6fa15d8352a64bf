"""Recovery: corrections of a compressed model that need no training."""
