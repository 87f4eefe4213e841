"""The queries of a target with noise: which texts change, and what that costs.

    perturb(target, loaded, "typo@0.1", {})      # sets loaded.perturbed
    measure(target, job, loaded, clean)          # the scores of the same items with noise, beside the clean ones

Texts that stay as they are keep their vectors.

Candidates stay clean. Tatoeba is searched in both directions, each with its own side as queries; of BUCC's sentences
those of the other language are the queries, on the split that is scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from common import languages
from common.config_fields import nearest
from common.errors import InputError
from common.files import file_sha256, json_sha256
from data_prep.datasets.mewslix import template_marks
from eval.inference.artifacts import Job, noisy_vectors, vectors
from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.metrics.items import Outcomes
from eval.perturb.kinds import parse, read_lexicon
from eval.report.statistics import relative_drop, uneven
from eval.retrieval.score_vectors import score_vectors
from eval.rows import Loaded
from eval.suites import Target

_UNSPACED = ("Burmese", "Han", "Japanese", "Thai")  # scripts
Texts = list[tuple[str, str]]  # (id of the item, text)
ByLanguage = Mapping[str, Outcomes]


def check(targets: Sequence[Target], text: str, lexicons: Mapping[str, str]) -> None:
    """`InputError` for noise that is none, or without queries, and for lexicons that are of no use.

    text: of `--perturb`, "" for none.
    """
    noises = parse(text) if text else []
    if noises and not any(target.retrieval for target in targets):
        raise InputError(f"--perturb {text}: noise is put into queries, and the suite has no retrieval target")
    if unknown := sorted(lexicons.keys() - languages.LANGUAGES.keys()):
        expected = nearest(unknown[0], languages.LANGUAGES)
        raise InputError(f"--lexicon {unknown[0]}={lexicons[unknown[0]]}: unknown language {unknown[0]!r}; {expected}")
    if lexicons and not any(noise.kind == "codeswitch" for noise in noises):
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
            changed = loaded.perturbed.setdefault((str(noise), metric), {})[artifact] = {}
            for number, (item, clean) in enumerate(texts):
                spared = template_marks(clean) if target.kind == "entities" else ()
                if (noisy := noise.apply(clean, item, language, lexicon, spared)) != clean:
                    changed[number] = noisy


def _queries(target: Target, loaded: Loaded) -> Iterator[tuple[str, str, str, str, Texts]]:
    """(artifact, metric that it is the query side of, language of the rows, language of the texts, texts)."""
    for code, rows in loaded.rows.items():
        if target.kind == "translation":
            if not target.protocol:
                yield f"{code}.en", TO_OTHER, code, "en", [(row.english, row.english) for row in rows]
            metric = target.metric if target.protocol else TO_ENGLISH
            yield f"{code}.xx", metric, code, code, [(row.english, row.other) for row in rows]
        elif target.kind == "mining":
            side = rows[-1].sides["xx"]
            distinct = [side.sentences[index] for index in side.distinct()]
            yield f"{code}.{rows[-1].split}.xx", target.metric, code, code, [(text, text) for text in distinct]
        else:
            yield code, target.metric, code, code, [(query.id, query.text) for query in rows]


def measure(
    target: Target, job: Job, loaded: Loaded, clean: ByLanguage
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Outcomes]]]:
    """(noise -> metric -> what scores.json records, noise -> outcomes by language) of `loaded.perturbed`.

    Over the languages in which noise changes a query; the others are named as not applicable. A metric without any of
    the former, or whose clean score is 0, is left out, and so is a language with 0: there is nothing to lose.
    """
    records: dict[str, dict[str, Any]] = {}
    outcomes: dict[str, dict[str, Outcomes]] = {}
    for (noise, metric), sides in loaded.perturbed.items():
        read = partial(noisy_vectors, job, noise, sides)
        noisy = score_vectors(target, read, loaded, job.centre).items
        touched = {name.partition(".")[0]: 100 * len(texts) / len(vectors(job, name)) for name, texts in sides.items()}
        found = _record(clean, noisy, metric, touched)
        records.setdefault(noise, {}).update({} if found is None else {metric: found})
        for code, one in outcomes.setdefault(noise, noisy).items():
            if metric in one.columns:  # Tatoeba's other direction has other queries
                outcomes[noise][code] = replace(one, columns={**one.columns, metric: noisy[code].columns[metric]})
    return records, outcomes


def _record(clean: ByLanguage, noisy: ByLanguage, metric: str, touched: Mapping[str, float]) -> dict[str, Any] | None:
    """touched: percent of the queries of each language that noise changes."""
    codes = [code for code in clean if touched[code]]
    whole = relative_drop([(clean, noisy)], metric, codes) if codes else None
    if whole is None:
        return None
    each = {code: relative_drop([(clean, noisy)], metric, [code]) for code in codes}
    languages = {code: asdict(one) | {"touched": touched[code]} for code, one in each.items() if one is not None}
    worst, beyond = uneven({code: one["drop"] for code, one in languages.items()}, whole.drop)
    rest = {"languages": languages, "not_applicable": [code for code in clean if code not in codes]}
    return {**asdict(whole), "worst": worst, "beyond_twice": beyond, **rest}
