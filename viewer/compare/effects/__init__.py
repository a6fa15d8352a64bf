"""The page of effects: what each operation did, from parent to child, over all places where it was applied."""
