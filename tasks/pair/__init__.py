"""Contrastive pairs for a dual encoder."""
