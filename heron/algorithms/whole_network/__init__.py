"""Algorithms whose clients hold and train the whole network: there is no cut and no Main Server."""
