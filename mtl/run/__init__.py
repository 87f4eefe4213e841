"""A run: setup, training loop, checkpoints, export."""
