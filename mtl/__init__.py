"""The trainer: mixture, packing, heads and the distributed step."""
