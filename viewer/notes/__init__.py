"""Notes, tags and saved views of people: files of their own beside the results."""
