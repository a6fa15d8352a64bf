"""ops/train/loop."""
