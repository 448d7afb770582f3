"""Models that run on any laptop CPU with no downloads."""
