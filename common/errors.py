"""The exception for errors of the user.

An invalid file, field or setting raises `InputError` with one line that names the problem and what to do. Programs
print it once as `error: ...` and exit with code 2. Any other exception is a bug and keeps its traceback.
"""

LONGEST = 1200  # characters of a message


class InputError(ValueError):
    """Invalid input: one line that names file, row, field, what was expected, and what to do.

    Line breaks and control characters (from file names or values) are escaped, and long messages are shortened in the
    middle.
    """

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
