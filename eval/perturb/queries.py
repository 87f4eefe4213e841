"""The queries of a target with noise: which texts change, beside those that stay and so keep their vectors.

    perturb(target, loaded, "typo@0.1", {})      # sets loaded.perturbed

Candidates stay clean. Tatoeba is searched in both directions, each with its own side as queries; of BUCC's sentences
those of the other language are the queries, on the split that is scored.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from common import languages
from common.config_fields import nearest
from common.errors import InputError
from common.files import file_sha256, json_sha256
from data_prep.datasets.mewslix import template_marks
from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.perturb.kinds import parse, read_lexicon
from eval.rows import Loaded
from eval.suites import Target

_UNSPACED = ("Burmese", "Han", "Japanese", "Thai")  # scripts
Texts = list[tuple[str, str]]  # (id of the item, text)


def check(lexicons: Mapping[str, str], text: str) -> None:
    """`InputError` for a lexicon of an unknown language, or one that no noise of `--perturb TEXT` needs."""
    if unknown := sorted(lexicons.keys() - languages.LANGUAGES.keys()):
        expected = nearest(unknown[0], languages.LANGUAGES)
        raise InputError(f"--lexicon {unknown[0]}={lexicons[unknown[0]]}: unknown language {unknown[0]!r}; {expected}")
    if not (text and any(noise.kind == "codeswitch" for noise in parse(text))):
        raise InputError("--lexicon: only codeswitch reads it; add --perturb codeswitch or leave --lexicon out")


def setups(target: Target, loaded: Loaded, text: str, lexicons: Mapping[str, str]) -> dict[str, str]:
    """Noise -> digest of what else it depends on. lexicons: language -> file; `InputError` if one is missing.

    Without words that are set apart a language needs none.
    """
    digests = {code: file_sha256(Path(path)) for code, path in lexicons.items() if code in loaded.rows}
    noises = parse(text)
    spaced = {code for code in loaded.rows if languages.language(code).script not in _UNSPACED}
    missing = sorted(spaced - digests.keys() - {"en"})
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
            marks = [template_marks(one) if target.kind == "entities" else set() for _, one in texts]
            noisy = [
                noise.apply(one, item, language, lexicon, spared)
                for (item, one), spared in zip(texts, marks, strict=True)
            ]
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
