"""Regression on pairs of sentences."""
