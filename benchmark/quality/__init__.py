"""Quality of the embedded models on known cuts, objects and masks."""
