"""Token classification: a label per word."""
