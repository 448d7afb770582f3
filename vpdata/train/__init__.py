"""The trainer of the context encoder and of the ID adapter, on a frozen video diffusion backbone."""
