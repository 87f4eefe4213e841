"""From an exported encoder to zero-shot scores and a report."""
