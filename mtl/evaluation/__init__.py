"""Dev evaluation."""
