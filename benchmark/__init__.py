"""VPBench and the project's own measurements; imports vpdata and is never imported by it."""
