"""`python -m eval --perturb`: noisy scores beside the clean ones, which stay as they are."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import scipy.stats

from eval.__main__ import main
from eval.driver import suite
from eval.metrics import items
from eval.perturb.kinds import Perturbation
from tests.support.eval_run import make_run, nearest, padded_vectors, scores_in, skip_reports
from tests.support.scores_files import tables
from tests.support.target_files import laser

TEXT = "the small dog runs to an old house near river and reads long letter in garden every morning"
WORDS = TEXT.split()
ENGLISH = [" ".join(WORDS[i % 7 : i % 7 + 3] + WORDS[i // 7 : i // 7 + 4]) for i in range(40)]
PAIRS = [(text, f"{text[2:]} é{i % 3}") for i, text in enumerate(ENGLISH)]
NOISE = "typo@0.3,typo@0,romanise,accents"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    """run/encoder, data/: Tatoeba, of which German translates itself, and scores without noise in clean/."""
    folder = tmp_path_factory.mktemp("noise")
    make_run(folder / "run", tiny_tokenizer_dir)
    laser(folder / "data", "deu", [(text, text) for text, _ in PAIRS])
    laser(folder / "data", "fra", PAIRS)
    with pytest.MonkeyPatch.context() as patch:
        skip_reports(patch)
        assert evaluate(folder, "clean") == 0
    return folder


def evaluate(world: Path, out: str, *more: str) -> int:
    places = ("--encoder", str(world / "run/encoder"), "--data", str(world / "data"), "--out", str(world / out))
    return main([*places, "--suite", "tatoeba", "--layer", "3", *more])


def test_noisy_scores_beside_the_clean_ones(world: Path, capsys: Any) -> None:
    assert evaluate(world, "noisy", "--perturb", NOISE) == 0
    printed = capsys.readouterr().out
    clean, noisy = (scores_in(world / name) for name in ("clean", "noisy"))
    record = noisy["targets"]["tatoeba"]
    found = record.pop("perturbed")
    for one in (clean, noisy):
        one["targets"]["tatoeba"].pop("seconds")
    assert clean == noisy
    for path in (world / "clean/submission").rglob("*.tsv"):
        assert path.read_text() == (world / "noisy" / path.relative_to(world / "clean")).read_text()

    # Each direction with its own noisy side against the other one as it was; by a padded loop and scikit-learn.
    for code in ("de", "fr"):
        pairs = [(a, a if code == "de" else b) for a, b in PAIRS]
        english, other = zip(*pairs, strict=True)
        for metric, queries, index, language in (("en->xx", english, other, "en"), ("xx->en", other, english, code)):
            noise = Perturbation("typo", 0.3)
            texts = [noise.apply(q, e, language, {}, ()) for q, e in zip(queries, english, strict=True)]
            x, y = (padded_vectors(world / "run/encoder", side, 3) for side in (texts, index))
            right = nearest(x, y) == np.arange(len(pairs))
            one = found["typo@0.3"]["metrics"][metric]["languages"][code]
            assert one["noisy"] == pytest.approx(100 * right.mean())
            assert one["clean"] == pytest.approx(record["details"][code][metric])
            assert one["drop"] == pytest.approx(100 * (1 - one["noisy"] / one["clean"]))
            assert one["touched"] == pytest.approx(100 * np.mean([a != b for a, b in zip(texts, queries, strict=True)]))
            # The ratio of two means over the same items, linearised.
            before = items.read(world / "noisy", "tatoeba", code, record["fingerprint"])
            after = items.read(world / "noisy", "tatoeba~typo@0.3", code, record["fingerprint"])
            assert before and after and (after.columns[metric] == right).all()
            each = 100 * (right - one["noisy"] / one["clean"] * before.columns[metric]) / (one["clean"] / 100)
            half = scipy.stats.t.ppf(0.975, len(each) - 1) * scipy.stats.sem(each)
            assert one["interval"] == pytest.approx([one["drop"] - half, one["drop"] + half])
    accents = found["accents"]["metrics"]["xx->en"]
    assert (accents["languages"]["fr"]["touched"], accents["not_applicable"]) == (100, ["de"])
    assert [accents[key] for key in ("clean", "drop")] == [accents["languages"]["fr"][key] for key in ("clean", "drop")]
    assert found["typo@0"]["metrics"] == found["romanise"]["metrics"] == {}
    assert "en->xx" not in found["accents"]["metrics"]

    table = tables(world / "noisy/report.md")["tatoeba: noise in the queries"]
    whole = found["typo@0.3"]["metrics"]["xx->en"]
    (cells,) = (row for row in table.rows if row[1:3] == ["typo@0.3", "xx→en"])
    assert cells[3:6] == [f"{whole[key]:.1f}" for key in ("clean", "noisy", "drop")]
    assert [one[-2:] for one in table.rows if one[1] == "accents"] == [["1", "de"]] and cells[-2:] == ["2", "–"]
    assert "tatoeba: noise in the queries" in printed and (world / "noisy/plots/tatoeba_noise.png").is_file()


def test_what_is_there_is_kept_and_more_is_added(world: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    skip_reports(monkeypatch)
    assert evaluate(world, "more", "--perturb", "case@0.5") == 0
    first = scores_in(world / "more")["targets"]["tatoeba"]
    for noise in ("case@0.50", ""):
        capsys.readouterr()
        assert evaluate(world, "more", *(["--perturb", noise] if noise else [])) == 0
        assert "taken from" in capsys.readouterr().err
    (world / "de.tsv").write_text("dog\tHund\n")
    lexicons = ["--lexicon", f"de={world / 'de.tsv'}", "--lexicon", f"fr={world / 'de.tsv'}"]
    for _ in range(2):
        assert evaluate(world, "more", "--perturb", "codeswitch", *lexicons) == 0
        both = scores_in(world / "more")["targets"]["tatoeba"]["perturbed"]
        assert both["case@0.5"] == first["perturbed"]["case@0.5"] and len(both) == 2
    assert "taken from" in capsys.readouterr().err
    touched = both["codeswitch"]["metrics"]["xx->en"]["languages"]["de"]["touched"]
    assert touched == pytest.approx(100 * np.mean(["dog" in text.split() for text, _ in PAIRS]))
    (world / "de.tsv").write_text("dog\tKatze\n")  # another lexicon is another noise
    with monkeypatch.context() as patch:
        patch.setattr(suite, "score_job", Mock(side_effect=KeyboardInterrupt))
        assert evaluate(world, "more", "--perturb", "codeswitch", *lexicons) == 130
    (world / "de.tsv").write_text("small\tKatze\n")  # so the vectors that are there are of no use
    for name in ("more", "fresh"):
        assert evaluate(world, name, "--perturb", "codeswitch", *lexicons) == 0
    assert "taken from" not in capsys.readouterr().err
    again, fresh = (scores_in(world / name)["targets"]["tatoeba"]["perturbed"] for name in ("more", "fresh"))
    assert again["codeswitch"] == fresh["codeswitch"]
