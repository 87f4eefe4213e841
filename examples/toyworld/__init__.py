"""The demo's data: a small hand-written multilingual world with data of every task (see __main__.py)."""
