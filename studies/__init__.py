"""Studies: questions put to the trainer."""
