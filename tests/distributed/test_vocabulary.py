"""Word embeddings of tokens that the data lack are not trained, and the exported encoder is the one that trains all.

The reference is the same run with the whole table, in which DeepSpeed's own optimizer decays the other rows.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mtl.run import setup
from tests.support.launch import program
from tests.support.live import metrics
from tests.support.small import STEADY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STEPS, LR, CLIP = (STEADY[key] for key in ("steps", "lr", "clip"))
# Trained weights: difference relative to lr x steps (0 where seen, but sums may be taken in another order elsewhere).
# Rows left out: the whole table rounds them 50 times by half an ulp.
TRAINED, UNTRAINED = 1e-4, STEPS * 2**-24
TABLE = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def made(steady):
    return setup.read(str(steady[0]), [])


def weights(folder: Path, name: str = "encoder_last") -> dict[str, torch.Tensor]:
    return load_file(folder / name / "model.safetensors")


def test_the_export_equals_that_of_the_whole_table(made, steady, tmp_path):
    """50 steps on two ranks, clipped at every step, with decay; the best encoder and the last."""
    (config, trimmed), whole = steady, tmp_path / "small"
    sets = ("--set", f"output={tmp_path}", "--set", "trim_word_embeddings=false")
    program("train.py", "--config", config, *sets, ranks=2)
    assert made.vocabulary.trained < made.vocabulary.rows // 2
    for folder in (trimmed, whole):
        norms = [line["grad_norm"] for line in metrics(folder, kind="train", task="all")]
        assert len(norms) == STEPS
        assert min(norms) > CLIP
    trained = torch.zeros(made.vocabulary.rows, dtype=torch.bool)
    trained[torch.from_numpy(made.vocabulary.ids)] = True
    for name in ("encoder", "encoder_last"):
        a, b = weights(trimmed, name), weights(whole, name)
        assert {n: w.shape for n, w in a.items()} == {n: w.shape for n, w in b.items()}
        differences = {n: float((a[n] - b[n]).abs().max()) for n in a if n != TABLE}
        differences[TABLE] = float((a[TABLE] - b[TABLE])[trained].abs().max())
        rest = float(((a[TABLE] - b[TABLE]) / b[TABLE])[~trained].abs().max())
        worst = max(differences, key=differences.__getitem__)
        print(f"\ntrained: {differences[worst] / (LR * STEPS):.1e} of lr x steps ({worst}); rest: {rest:.1e} relative")
        assert differences[worst] < TRAINED * LR * STEPS
        assert rest < UNTRAINED
    heads = [load_file(folder / "heads_last" / "heads.safetensors") for folder in (trimmed, whole)]
    assert max(float((heads[0][n] - w).abs().max()) for n, w in heads[1].items()) < TRAINED * LR * STEPS
    scores = [json.loads((f / "checkpoints/step-00000050/state.json").read_text())["dev"] for f in (trimmed, whole)]
    for task, found in scores[0].items():
        assert found == pytest.approx(scores[1][task], rel=1e-4), task


def test_in_bf16_too(made, steady, tmp_path):
    """There the whole table starts from rows rounded to bf16, and so do the rows left out."""
    for name, choice in (("trimmed", "true"), ("whole", "false")):
        sets = [f"output={tmp_path}", f"name={name}", f"trim_word_embeddings={choice}", "steps=6"]
        options = [word for one in (*sets, "deepspeed=zero2.json") for word in ("--set", one)]
        program("train.py", "--config", steady[0], *options, ranks=2)
    rest = np.setdiff1d(np.arange(made.vocabulary.rows), made.vocabulary.ids)
    a, b = (weights(tmp_path / name)[TABLE][rest] for name in ("trimmed", "whole"))
    assert ((a / b) - 1).abs().max() < 6 * 2**-24
