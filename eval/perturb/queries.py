"""The queries of a target with noise: which texts change, beside those that stay and so keep their vectors.

    perturb(target, loaded, "typo@0.1", {})      # sets loaded.perturbed

Candidates stay clean. Tatoeba is searched in both directions, each with its own side as queries; of BUCC's sentences
those of the other language are the queries, on the split that is scored.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from common.errors import InputError
from common.files import file_sha256, json_sha256
from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.perturb.kinds import parse, read_lexicon
from eval.rows import Loaded
from eval.suites import Target

Texts = list[tuple[str, str]]  # (id of the item, text)


def setups(target: Target, loaded: Loaded, text: str, lexicons: Mapping[str, str]) -> dict[str, str]:
    """Noise -> digest of what else it depends on. lexicons: language -> file; `InputError` if one is missing."""
    digests = {code: file_sha256(Path(path)) for code, path in lexicons.items() if code in loaded.rows}
    noises = parse(text)
    missing = sorted(loaded.rows.keys() - digests.keys() - {"en"})
    if missing and any(noise.kind == "codeswitch" for noise in noises):
        raise InputError(
            f"--perturb codeswitch: {target.name}: no lexicon of {' '.join(missing)}; give --lexicon {missing[0]}=FILE"
            " with lines `word<TAB>English word`, or leave codeswitch out"
        )
    return {str(noise): json_sha256(digests if noise.kind == "codeswitch" else {}) for noise in noises}


def perturb(target: Target, loaded: Loaded, text: str, lexicons: Mapping[str, str]) -> None:
    """Sets `loaded.perturbed`; `text`: as of `kinds.parse`, lexicons: as of `setups`."""
    read = {code: read_lexicon(Path(path)) for code, path in lexicons.items() if code in loaded.rows}
    for noise in parse(text):
        for artifact, metric, code, language, texts in _queries(target, loaded):
            lexicon = read[code][language == "en"] if code in read else {}
            noisy = [noise.apply(one, item, language, lexicon) for item, one in texts]
            changed = {i: new for i, (new, (_, old)) in enumerate(zip(noisy, texts, strict=True)) if new != old}
            loaded.perturbed.setdefault((str(noise), metric), {})[artifact] = changed


def _queries(target: Target, loaded: Loaded) -> Iterator[tuple[str, str, str, str, Texts]]:
    """(artifact, metric that it is the query side of, language of the rows, language of the texts, texts)."""
    for code, rows in loaded.rows.items():
        if target.kind == "translation":
            if not target.protocol:
                yield f"{code}.en", TO_OTHER, code, "en", [(row.english, row.english) for row in rows]
            metric = target.metric if target.protocol else TO_ENGLISH
            yield f"{code}.xx", metric, code, code, [(row.english, row.other) for row in rows]
        elif target.kind == "mining":
            side = rows[-1].sides()["xx"]
            distinct = [side.sentences[index] for index in side.distinct()]
            yield f"{code}.{rows[-1].split}.xx", target.metric, code, code, [(text, text) for text in distinct]
        else:
            yield code, target.metric, code, code, [(query.id, query.text) for query in rows]
