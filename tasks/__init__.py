"""Task types: one folder each. `data.py` is NumPy (example, validation, encoding), `model.py` is torch (head, loss)."""
