"""bench/evaluation.py runs, and ends where the two sides have not computed the same."""

import dataclasses
import json
from pathlib import Path

import pytest

from bench import evaluation, sentences
from bench.evaluation import Work


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    arguments = ["--shape", "tiny", "--languages", "2", "--examples", "20", "--rounds", "1", "--only", "xnli"]
    evaluation.main([*arguments, "--json", str(path)])
    ratios = json.loads(path.read_text(encoding="utf-8"))["ratios"]["xnli, 2 x 20 pairs"]
    assert ratios["padded"]["median"] > 0 and len(ratios["padded"]["rounds"]) == 1
    # Every pair padded to 128 tokens, over the real ones.
    assert ratios["maximum"]["padding"] == pytest.approx(2 * 20 * 128 / ratios["maximum"]["tokens"])
    assert "| equal |" in capsys.readouterr().out


def test_both_sides_agree_and_another_result_ends_it(tmp_path: Path) -> None:
    evaluation.write_model(tmp_path, "tiny", None)
    work = Work(tmp_path, sentences.made_sentences(2, 12), sentences.made_pairs(2, 12), layer=2)
    mine, theirs = evaluation.our_vectors(work)(), evaluation.padded_vectors(work)()
    assert mine.result.shape == (24, 32) and theirs.computed > theirs.tokens == mine.tokens
    assert evaluation.agree(mine, theirs).startswith("within")
    assert evaluation.agree(mine, evaluation.cut_vectors(work)()).startswith("within")
    other = evaluation.our_vectors(dataclasses.replace(work, layer=3))()
    with pytest.raises(SystemExit, match="vectors differ"):
        evaluation.agree(other, theirs)
    labels = evaluation.our_labels(work)()
    assert evaluation.agree(labels, evaluation.padded_labels(work)()) == "equal"
    wrong = [*labels.result[:-1], (labels.result[-1] + 1) % 3]
    with pytest.raises(SystemExit, match="1 of 24 labels differ"):
        evaluation.agree(dataclasses.replace(labels, result=wrong), labels)
