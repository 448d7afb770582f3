"""How good a filled video is: pure functions from arrays to sums, whose means are taken once, at the end."""
