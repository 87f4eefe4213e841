"""bench/evaluation.py runs, and ends where the two sides have not computed the same."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from bench import evaluation, madeup, sentences
from bench.evaluation import Done, Work


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    arguments = ["--shape", "tiny", "--languages", "2", "--examples", "20", "--rounds", "1", "--only", "xnli"]
    evaluation.main([*arguments, "--json", str(path)])
    ratios = json.loads(path.read_text(encoding="utf-8"))["ratios"]
    assert list(ratios) == ["xnli, 2 x 20 pairs"]
    padded, maximum = ratios["xnli, 2 x 20 pairs"]["padded"], ratios["xnli, 2 x 20 pairs"]["maximum"]
    assert padded["median"] > 0 and len(padded["rounds"]) == 1
    # Pairs of 128 tokens each over the real ones: the bound is that of the lengths in sentences.json.
    assert maximum["padding"] == pytest.approx(2 * 20 * 128 / maximum["tokens"]) and 1 < padded["padding"] < 2.98
    assert "| equal |" in capsys.readouterr().out


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("model")
    evaluation.write_model(folder, "tiny", None)
    return Work(folder, sentences.made_sentences(2, 12), sentences.made_pairs(2, 12), layer=2)


def test_both_sides_agree_and_another_result_ends_it(work: Work) -> None:
    mine, theirs = evaluation.our_vectors(work)(), evaluation.padded_vectors(work)()
    assert mine.result.shape == (24, 32) and theirs.computed > theirs.tokens == mine.tokens
    assert evaluation.agree(mine, theirs).startswith("within")
    assert evaluation.agree(mine, evaluation.cut_vectors(work)()).startswith("within")
    other = evaluation.our_vectors(dataclasses.replace(work, layer=3))()
    with pytest.raises(SystemExit, match="vectors differ"):
        evaluation.agree(other, theirs)
    with pytest.raises(SystemExit, match="not the same work"):
        evaluation.agree(dataclasses.replace(mine, tokens=1), theirs)

    labels = evaluation.our_labels(work)()
    assert evaluation.agree(labels, evaluation.padded_labels(work)()) == "equal"
    wrong = [*labels.result[:-1], (labels.result[-1] + 1) % 3]
    with pytest.raises(SystemExit, match="1 of 24 labels differ"):
        evaluation.agree(dataclasses.replace(labels, result=wrong), labels)
    with pytest.raises(SystemExit, match="all are one label"):
        evaluation.agree(Done([0, 0], 9, 9), Done([0, 0], 9, 9))
    with pytest.raises(SystemExit, match="vectors differ"):
        evaluation.agree(Done(np.full((1, 2), np.nan), 9, 9), Done(np.ones((1, 2)), 9, 9))


def test_shares_are_the_whole_each_once(work: Work) -> None:
    """Two runs of two shares give what one of the whole does, language by language; the third begins again."""
    shared = dataclasses.replace(work, shares=2)
    for make in (evaluation.our_vectors, evaluation.padded_vectors, evaluation.our_labels, evaluation.padded_labels):
        whole, run = make(work)(), make(shared)
        runs = [run() for _ in range(3)]
        assert [len(one.result) for one in runs] == [12, 12, 12]
        both = evaluation.together(runs[:2])
        assert (both.tokens, both.computed) == (whole.tokens, whole.computed)
        np.testing.assert_allclose(both.result, whole.result, atol=1e-5)
        np.testing.assert_array_equal(runs[2].result, runs[0].result)
        assert not np.array_equal(runs[0].result, runs[1].result)


def test_made_up_sentences_have_the_lengths_of_the_file() -> None:
    lengths = json.loads(sentences.FILE.read_text(encoding="utf-8"))
    cut = madeup.tokenizer(sentences.VOCABULARY)
    for some, expected in zip(sentences.made_sentences(31, 205), [*lengths["tatoeba"].values()] * 2, strict=False):
        sizes = [len(ids) for ids in cut(some, add_special_tokens=False)["input_ids"]]
        assert sizes[: len(expected)] == expected and len(sizes) == 205
    pairs = sentences.made_pairs(1, 5)[0]
    found = [[len(cut(text, add_special_tokens=False)["input_ids"]) for text in (p.text_a, p.text_b)] for p in pairs]
    assert found == lengths["xnli"]["ar"][:5]
