"""The client: a round, a step, its orders of learning, and what it keeps between rounds."""
