"""Shared by all packages: errors, run config, DeepSpeed config, languages, checked fields."""
