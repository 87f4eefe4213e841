"""What the command lines of several programs share."""

import argparse
import signal
from types import FrameType
from typing import NoReturn


def positive(text: str) -> int:
    """The type of an argument that is a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def interrupt_on(*signals: int) -> None:
    """These signals end the program as ctrl-C does, so that the programs it has started are ended too.

    The `KeyboardInterrupt` has the signal's number.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt(number)

    for one in signals:
        signal.signal(one, interrupt)
