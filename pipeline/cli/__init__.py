"""The command line: composition with Hydra, commands, progress and everything that is printed."""
