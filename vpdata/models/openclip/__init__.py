"""CLIP through open_clip: one model, opened once per process, behind several ports."""
