"""Synthetic data with the lengths of the real data, for benchmarks of training and evaluation."""
