"""JSON from untrusted files."""

import json
from typing import Any


def parse(text: str) -> Any:
    """`json.loads`, but always `json.JSONDecodeError` on failure.

    That includes nesting deeper than the recursion limit, and integers with more digits than Python converts.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, 0) from None
    except ValueError:
        raise json.JSONDecodeError("a number has too many digits", text, 0) from None
