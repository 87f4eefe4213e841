"""Alignment of languages, layer by layer."""
