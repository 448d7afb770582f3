"""Inpainting and editing video of any length with a trained context encoder and ID adapter."""
