"""What the development set-up needs and the package does not."""
