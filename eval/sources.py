"""`--data`: where test data come from, for every target or for one alone, in all of its languages or in some.

parse("hub")    parse("DIR")    parse("udpos=UD_2.5")    parse("udpos:lt,pl,ro,uk,wo=UD_2.7")
groups(sources, target, codes)      [(languages, the places to look for them, in order), ...]
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from data_prep.sources.folders import check_folders
from eval.suites import TARGETS, Target

Group = tuple[tuple[str, ...], list[str]]  # languages, and the places to look for them


@dataclass(frozen=True, slots=True)
class Source:
    """`hub` or a folder. `target`: the only one that it serves, "" for all; `languages`: of it, () for the others."""

    place: str
    target: str = ""
    languages: tuple[str, ...] = ()


def parse(text: str) -> Source:
    """One `--data`; `InputError` for an unknown target, a language that it has not, or a folder that is not there."""
    named = None if Path(text).is_dir() else re.fullmatch(r"(\w+)(?::([\w,-]+))?=(.+)", text)
    if named is None:
        check_folders("--data", [text])
        return Source(text)
    name, codes, place = named[1], tuple((named[2] or "").split(",")) if named[2] else (), named[3]
    if name not in TARGETS:
        raise InputError(f"--data {text}: unknown target {name!r}; expected one of {', '.join(TARGETS)}")
    known = TARGETS[name].of_suite("")
    unknown = [code for code in codes if code not in known]
    if unknown:
        raise InputError(f"--data {text}: {name} has no language {unknown[0]!r}; it has {' '.join(known) or 'no list'}")
    if codes and TARGETS[name].kind in ("answers", "entities"):
        raise InputError(f"--data {text}: {name} has one pool for all languages; give --data {name}={place}")
    check_folders("--data", [place])
    return Source(place, name, codes)


def shared_places(sources: Sequence[Source]) -> list[str]:
    """The places that serve every target, in order; `hub` where there is none."""
    return [source.place for source in sources if not source.target] or ["hub"]


def groups(sources: Sequence[Source], target: Target, codes: Sequence[str]) -> list[Group]:
    """Each of `codes` (() for all that a folder holds) in one group; a target's own places go before the others."""
    own = [source for source in sources if source.target == target.name]
    served: dict[tuple[str, ...], list[str]] = {}
    for code in codes:
        places = [source.place for source in own if code in source.languages]
        if places:
            key = tuple(places)
            served[key] = [*served.get(key, []), code]
    found = [(tuple(some), list(places)) for places, some in served.items()]
    rest = tuple(code for code in codes if not any(code in some for some, _ in found))
    if rest or not codes:
        places = [source.place for source in own if not source.languages] or shared_places(sources)
        found.append((rest, places))
    return found
