"""The encoder, its attention and the heads."""
