"""Prepared folders."""
