"""JSON from files that anybody may have written."""

import json
from typing import Any


def parse(text: str) -> Any:
    """`json.loads`, but with `json.JSONDecodeError` also for what it meets with other exceptions.

    Those are a nesting deeper than Python's stack and a number of more digits than Python takes.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, 0) from None
    except ValueError:
        raise json.JSONDecodeError("a number has too many digits", text, 0) from None
