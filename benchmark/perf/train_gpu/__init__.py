"""What a step of stage 1 costs on backbones of published size with random weights."""
