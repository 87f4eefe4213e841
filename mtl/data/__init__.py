"""From prepared data to packed micro-batches."""
