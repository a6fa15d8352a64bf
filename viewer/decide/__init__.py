"""The first page: which model to ship, why that one and not the next, and how to get it."""
