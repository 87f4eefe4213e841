"""Retrieval and mining."""
