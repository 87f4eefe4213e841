"""Classification of a text or of a pair of texts."""
