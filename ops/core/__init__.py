"""The operation contract: its registration, parameters, models, structural edits and the selection of layers."""
