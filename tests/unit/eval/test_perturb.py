"""Noise in texts: nothing within a grapheme cluster, the same for the same seed, as often as its rate says."""

import itertools
import unicodedata
from pathlib import Path

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from eval.perturb import queries
from eval.perturb.kinds import Perturbation, parse, read_lexicon
from eval.rows import Loaded, Query
from eval.suites import TARGETS

EVERY = parse("typo@0.5,case@0.5,accents,punctuation,romanise@0.5,codeswitch@0.5")
LEXICON = {"hund": "dog", "शब्द": "word"}
# Letters, marks, joiners and syllable parts of the scripts in which clusters have several characters.
PIECES = [
    *"aZßéİǆ .,!?{}'1", "e\u0301\u0323", "й", "Ё", "ά", "ς", "क्ष", "त्रि", "न्", "ि", "ง่", "กำ", "เ", "ക്", "യാ",
    "ᄀ", "ᅡ", "ᆨ", "한", "국", "这", "が", "か\u3099", "ー", "🇩", "🇪", "👩", "\u200d", "👧", "👍🏽", "❤\ufe0f",
    "1\ufe0f\u20e3", "مُ", "שָׁ", "\u0600", "Hund ", "शब्द ", "\r\n", "\ufe0f", "\u0301",
]  # fmt: skip
# Of a few different pieces, so that the same ones often stand side by side.
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).flatmap(
    lambda some: st.lists(st.sampled_from(some), max_size=12).map("".join)
)


def attached(text: str) -> set[tuple[str, str]]:
    """(character, what goes with it): marks, joiners, modifiers and the emoji after a joiner, by unicodedata alone."""
    pairs = set(itertools.pairwise(text))
    with_next = {(a, b) for a, b in pairs if unicodedata.category(b) in ("Mn", "Mc", "Me") or b in "\u200d🏽"}
    return with_next | {(a, b) for a, b in pairs if a == "\u200d" and unicodedata.category(b) == "So"}


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from([one for one in EVERY if one.kind in ("typo", "codeswitch", "punctuation")]))
def test_nothing_is_torn_from_what_it_belongs_to(text: str, noise: Perturbation) -> None:
    """No mark, joiner or modifier gets another base; Hangul syllables and flags are made of what they were made of."""
    changed = noise.apply(text, "1", "hi", LEXICON, ())
    assert attached(changed) <= attached(text)
    for composed in ("각", "가"):  # of the conjoining letters above
        assert (composed in unicodedata.normalize("NFC", changed)) <= (composed in unicodedata.normalize("NFC", text))
    if "🇩🇪" not in text and "🇪🇩" not in text:
        assert "🇩🇪" not in changed and "🇪🇩" not in changed


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(EVERY[:4]), st.text(max_size=3))
def test_same_seed_same_text_and_rate_0_is_the_text(text: str, noise: Perturbation, item: str) -> None:
    assert noise.apply(text, item, "de", {}, ()) == noise.apply(text, item, "de", {}, ())
    assert Perturbation(noise.kind, 0.0).apply(text, item, "de", {}, ()) == text
    assert noise.apply(text, item, "de", {}, ()).strip() or not text.strip()


@pytest.mark.parametrize(
    ("noise", "text", "language", "expected"),
    [
        ("accents", "Größe é e\u0301 й ήχος が", "de", "Große e e и ηχος が"),
        ("accents", "नि שָׁ한", "hi", "नि שָׁ한"),
        ("punctuation", "Don't, 这。{ x } ❗\ufe0f", "en", "Dont 这 x  ❗\ufe0f"),
        ("punctuation", "?!", "en", "?!"),
        ("case", "ab CD გა 这", "ka", "AB cd გა 这"),
        ("case", "iyi ΟΔΟΣ. IŞIK", "tr", "İYİ οδος. ışık"),
        ("romanise", "မြန်မာ é", "my", "mranmaa é"),
        ("romanise", "Čaj, Привет 1 नेपाल", "ru", "Čaj, Privet 1 nepaal"),
        ("codeswitch", "Der Hund, hund!", "de", "Der dog, dog!"),
        ("typo", "12 … 👍🏽", "en", "12 … 👍🏽"),
    ],
)
def test_only_where_the_script_has_it(noise: str, text: str, language: str, expected: str) -> None:
    assert parse(noise)[0].apply(text, "1", language, LEXICON, ()) == expected


def test_the_template_of_mewslix_is_spared() -> None:
    texts = ["Rio: In { Rio } x", "U.S.: { U.S. } a: (b)"]
    rows = [Query(str(number), text, ("e",)) for number, text in enumerate(texts)]
    loaded = Loaded("test", {"de": rows}, {})
    queries.perturb(TARGETS["mewslix"], loaded, "punctuation", {})
    assert list(loaded.perturbed.values()) == [{"de": {1: "US: { US } a b"}}]


@pytest.mark.parametrize("word", ["word", "слово", "नमन्", "ตำบล", "单词很长"])
@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_words_are_touched_as_often_as_the_rate_says(word: str, rate: float) -> None:
    count = 0
    for item in range(200):
        changed = Perturbation("typo", rate).apply(" ".join([word] * 10), str(item), "en", {}, ()).split(" ")
        count += sum(one != word for one in changed)
    low, high = scipy.stats.binom.interval(1 - 1e-4, 2000, rate)
    assert low <= count <= high


def test_what_is_asked_for_wrongly_is_one_line(tmp_path: Path) -> None:
    assert [str(one) for one in parse("typo@0.10, accents,typo@.1,case@1")] == ["typo@0.1", "accents", "case"]
    for text in ("typo@2", "typo@x", "typo,"):  # by the command: tests/end_to_end/test_perturb.py
        with pytest.raises(InputError, match="KIND@RATE with a rate from 0 to 1"):
            parse(text)
    path = tmp_path / "de.tsv"
    path.write_text("Hund\tdog\nRüde\tdog\nHund\thound\n", encoding="utf-8")
    assert read_lexicon(path) == ({"hund": "dog", "rüde": "dog"}, {"dog": "Hund", "hound": "Hund"})
    path.write_text("Hund\tdog\nHund dog\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"de.tsv: line 2: expected `word<TAB>English word`, found 'Hund dog'"):
        read_lexicon(path)
