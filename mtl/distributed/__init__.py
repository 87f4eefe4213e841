"""The distributed step and what the ranks exchange."""
