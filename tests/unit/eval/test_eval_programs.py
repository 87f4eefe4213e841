"""Programs that the driver starts: what they print is kept. How they end: tests/end_to_end/test_eval_driver.py."""

import sys
from pathlib import Path

import pytest

from common.errors import InputError
from eval.driver import subprocesses


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-S", "-c", code, *arguments]


def test_logs_are_kept_and_the_reason_is_of_the_last_attempt(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"

    def fails(code: str) -> str:
        with pytest.raises(InputError) as raised:
            subprocesses.run(python(code), log, "this", lambda: None)
        return str(raised.value)

    assert fails("print('starting ü'); print('error: the first'); raise SystemExit(2)") == f"the first (log: {log})"
    assert fails("print('error: the second'); print('error: third'); raise SystemExit(2)") == f"the second (log: {log})"
    said = fails("print('no such thing'); print('-----'); raise SystemExit(3)")
    assert said == f"this ended with exit code 3: no such thing (log: {log})"
    assert "nothing was printed" in fails("raise SystemExit(1)")
    subprocesses.run(python("print('well')"), log, "this", lambda: None)
    text = log.read_text(encoding="utf-8")
    assert text.count("$ ") == 5 and text.startswith("$ ") and text.endswith("well\n")
    assert "the first" in text and "the second" in text
