"""What the GPU stages cost on full-size models with random weights, beside scripts that call the libraries."""
