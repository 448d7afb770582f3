"""Video diffusion transformers behind one adapter, and the parts of VideoPainter that are trained on them."""
