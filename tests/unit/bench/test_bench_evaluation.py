"""bench.evaluation runs, and ends where the results of the two sides differ."""

import dataclasses
import json
from pathlib import Path

import pytest

from bench import evaluation
from bench.evaluation import Workload
from bench.workload import texts


@pytest.mark.slow
def test_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    arguments = ["--shape", "tiny", "--languages", "2", "--examples", "20", "--rounds", "1", "--only", "xnli"]
    evaluation.main([*arguments, "--json", str(path)])
    ratios = json.loads(path.read_text(encoding="utf-8"))["ratios"]["xnli, 2 x 20 pairs"]
    assert ratios["padded"]["median"] > 0 and len(ratios["padded"]["rounds"]) == 1
    # Every pair padded to 128 tokens, over the real ones.
    assert ratios["maximum"]["padding"] == pytest.approx(2 * 20 * 128 / ratios["maximum"]["tokens"])
    assert "| equal |" in capsys.readouterr().out


def test_results_are_compared(tmp_path: Path) -> None:
    evaluation.write_model(tmp_path, "tiny", None)
    work = Workload(tmp_path, texts.synthetic_sentences(2, 12), texts.synthetic_pairs(2, 12), layer=2)
    ours, theirs = evaluation.our_vectors(work)(), evaluation.padded_vectors(work)()
    assert ours.result.shape == (24, 32) and theirs.computed > theirs.tokens == ours.tokens
    assert evaluation.check(ours, theirs).startswith("within")
    assert evaluation.check(ours, evaluation.truncated_vectors(work)()).startswith("within")
    other = evaluation.our_vectors(dataclasses.replace(work, layer=3))()
    with pytest.raises(SystemExit, match="vectors differ"):
        evaluation.check(other, theirs)
    labels = evaluation.our_labels(work)()
    assert evaluation.check(labels, evaluation.padded_labels(work)()) == "equal"
    wrong = [*labels.result[:-1], (labels.result[-1] + 1) % 3]
    with pytest.raises(SystemExit, match="1 of 24 labels differ"):
        evaluation.check(dataclasses.replace(labels, result=wrong), labels)
