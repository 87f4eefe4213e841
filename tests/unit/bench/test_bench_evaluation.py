"""bench.evaluation ends where the results of the two sides differ."""

import dataclasses
from pathlib import Path

import pytest

from bench import evaluation
from bench.evaluation import Workload
from bench.workload import texts


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
