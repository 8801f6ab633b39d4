"""The Flower apps that `pyproject.toml` names: they turn Flower's settings into the run of a recipe."""
