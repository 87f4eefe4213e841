"""The one exception a user may see.

A bad file, field or setting raises `InputError` with one line that names what is wrong and what to do. Programs
print it once as `error: ...` and end with exit code 2; anything else that escapes is a bug of ours and keeps its
traceback.
"""

LONGEST = 1200  # characters of a message


class InputError(ValueError):
    """Wrong input by the user: one line that names file, row, field, what was expected, and what to do.

    Line breaks and control characters, which a file name or a value may hold, are shown as escapes, and of a message
    that quotes too much the middle is left out.
    """

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
