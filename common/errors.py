"""The exception for errors of the user.

An invalid file, field or setting raises `InputError` with one line that names the problem and what to do. Programs
print it once as `error: ...` and exit with code 2. Any other exception is a bug and keeps its traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager

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


def reason(error: BaseException) -> str:
    """What an exception says, on one line; its class where it says nothing."""
    return (" ".join(str(error).split()) or type(error).__name__)[:160]


@contextmanager
def writing(what: object, advice: str = "") -> Iterator[None]:
    """Turns an `OSError` of the `with` into the `InputError` that `what` cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{what}: cannot be written ({error.strerror or reason(error)}){advice}") from None


@contextmanager
def loading(what: str, advice: str = "export or download it again") -> Iterator[None]:
    """Turns whatever transformers, the Hub's client, safetensors and torch raise for damaged files into `InputError`.

    with loading("encoder runs/a/encoder"):
        encoder = load_encoder("runs/a/encoder")
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what}: cannot be loaded ({type(error).__name__}: {reason(error)}); {advice}") from None
