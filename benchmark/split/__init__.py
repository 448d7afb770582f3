"""Makes a benchmark from a finished run, and the list of what it holds out of training."""
