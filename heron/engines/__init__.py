"""Engines that run the algorithms: both servers of a run, and all its parties in one process."""
