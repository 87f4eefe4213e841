"""JSON from untrusted files."""

import json
import re
from typing import Any

# The escape of half a surrogate pair may follow: no character, so nothing that a tokenizer or a UTF-8 file can hold.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def parse(text: str) -> Any:
    """`json.loads`, but with `json.JSONDecodeError` also for what it meets with other exceptions, or not at all.

    Those are a nesting deeper than Python's stack, a number of more digits than Python takes, and a text with half of
    a surrogate pair, which would fail where it is first written.
    """
    try:
        values = json.loads(text)
        if _HALF.search(text):
            json.dumps(values, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, 0) from None
    except UnicodeEncodeError:
        raise json.JSONDecodeError("half of a surrogate pair, which is no character", text, 0) from None
    except ValueError:
        raise json.JSONDecodeError("a number has too many digits", text, 0) from None
    return values
