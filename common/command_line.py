"""What the command lines of several programs share."""

import argparse
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from tqdm import tqdm


def positive(text: str) -> int:
    """The type of an argument that is a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def progress(**options: Any) -> "tqdm[Any]":
    """A progress bar, redrawn twice a second on a terminal and every 15 s in a log file; `options`: of tqdm."""
    return tqdm(dynamic_ncols=True, mininterval=0.5 if sys.stderr.isatty() else 15.0, **options)


def interrupt_on(*signals: int) -> None:
    """These signals end the program as ctrl-C does, so that the programs it has started are ended too.

    The `KeyboardInterrupt` has the signal's number.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt(number)

    for one in signals:
        signal.signal(one, interrupt)
