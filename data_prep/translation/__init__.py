"""Machine translation of training data: `python -m data_prep translate` (see command.py)."""
