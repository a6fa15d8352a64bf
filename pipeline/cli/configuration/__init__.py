"""From words and files to one configuration: Hydra, YAML and references between values stop here."""
