"""The one exception a user may see.

A bad file, field or setting raises `InputError` with one line that names what is wrong and what to do. Programs
print it once as `error: ...` and end with exit code 2; anything else that escapes is a bug of ours and keeps its
traceback.
"""


class InputError(ValueError):
    """Wrong input by the user: one line that names file, row, field, what was expected, and what to do."""
