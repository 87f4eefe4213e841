"""What a task type is given to translate its examples with (`TaskType.translated`)."""

from typing import Protocol


class LeftOut(Exception):
    """A row that cannot be used once translated; its text is the reason under which it is counted."""


class Translation(Protocol):
    """Texts into one language; both methods raise `LeftOut` where a translation fails its checks."""

    def text(self, text: str) -> str:
        """A whole text."""

    def span(self, context: str, answer: str, start: int) -> tuple[str, str, int]:
        """A context, and in it an answer and its first character; both texts translated, and where the answer is."""
