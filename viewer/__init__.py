"""Panel application over the published results. `panel serve viewer` runs `main.py`."""
