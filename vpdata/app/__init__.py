"""`vpdata app`: inpainting on a local page."""
