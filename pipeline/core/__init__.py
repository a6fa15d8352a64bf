"""Shared foundations: keys, versions, errors, artifacts, statistics and facts about the machine."""
