"""Downloads: Python packages, the Hugging Face hub, and checksums."""
