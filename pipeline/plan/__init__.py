"""From a recipe to a plan: parsing, checking and keys, without running anything."""
