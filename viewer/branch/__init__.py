"""The page on which a branch is tried: its change, its plan, and the requests of all visitors."""
