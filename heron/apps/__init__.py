"""The Flower apps that `pyproject.toml` names: from what Flower was told to a run of one of our recipes."""
