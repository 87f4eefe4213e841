"""Queries with noise, and what they cost."""
