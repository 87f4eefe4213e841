"""Whether a machine translation of one sentence can be trusted, from the two texts alone."""

import re

from common.languages import language

# Scripts written without spaces between words, and how many Latin letters a character of a dense one stands for.
UNSPACED = ("Han", "Japanese", "Thai", "Burmese")
_DENSITY = {"Han": 3.0, "Japanese": 2.0, "Hangul": 2.0}
RATIO, SLACK = 3.0, 10.0  # lengths may differ by this factor, once so many characters were added to both
COPY_WORDS = 4  # shorter texts may be names and numbers, which stay as they are
_LOOP = re.compile(r"(.{3,40}?)\1{3}", re.DOTALL)
_ENDS = re.compile(r"[.!?…]+(?=[\s\"'”’»)\]]|$)|[。！？।؟۔။]+")


def failure(source: str, text: str | None, code: str) -> str:
    """Why `text` is no translation of the sentence `source` into language `code`; "" if it passes every check.

    text: None where the system did not come to an end. Lengths are compared in characters, by script. Sentences are
    counted by their end marks; one more or less is an abbreviation, or a script without end marks.
    """
    if text is None:
        return "translation not finished"
    if not text.strip():
        return "translation empty"
    if " ".join(text.casefold().split()) == " ".join(source.casefold().split()) and len(source.split()) >= COPY_WORDS:
        return "translation copies the source"
    length = len(text) * _DENSITY.get(language(code).script, 1.0)
    if not 1 / RATIO <= (length + SLACK) / (len(source) + SLACK) <= RATIO:
        return "translation too long or too short"
    if _LOOP.search(text) and not _LOOP.search(source):
        return "translation repeats itself"
    if abs(len(_ENDS.findall(text)) - len(_ENDS.findall(source))) > 1:
        return "translation has another number of sentences"
    return ""
