"""Architectures and pretrained models. Start at `pipeline.models.api`."""
