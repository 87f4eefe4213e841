"""The embedded default data: a small hand-written multilingual world that yields every task (see __main__.py)."""
