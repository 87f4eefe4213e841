"""Word embeddings of tokens that the data lack are not trained, and the exported encoder is the one that trains all.

The reference is the same run with the whole table; what the rows left out must become is also computed here from the
definition of the schedule and of decoupled weight decay.
"""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import XLMRobertaConfig, XLMRobertaModel

from common.errors import InputError
from data_prep.encoding import token_ids
from data_prep.storage import manifest as manifests
from data_prep.storage.store import Prepared
from mtl.data import loader
from mtl.model.trimmed_embeddings import TrimmedEmbedding, trim
from mtl.run import checkpoint, dry_run, setup
from tests.support.launch import program
from tests.support.small import SHAPE, write_run, write_tasks

STEPS, LR, DECAY, CLIP, WARM = 50, 1e-3, 0.5, 0.3, 5
# Trained weights: difference relative to lr x steps (0 where seen, but sums may be taken in another order elsewhere).
# Rows left out: the whole table rounds them 50 times by half an ulp.
TRAINED, UNTRAINED = 1e-4, STEPS * 2**-24
TABLE = "embeddings.word_embeddings.weight"


def config_of(folder: Path, tokenizer: Path, **fields) -> Path:
    """A run over one task of each kind but mlm."""
    return write_run(folder, tokenizer, **{"tasks": write_tasks(folder)[:4], **fields})


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_tokenizer_dir):
    return config_of(
        tmp_path_factory.mktemp("vocabulary"), tiny_tokenizer_dir, steps=STEPS, log_every=1,
        optimizer={"lr": LR, "weight_decay": DECAY, "clip": CLIP, "warmup": WARM, "eps": 1e-6},
        evaluate={"every": 25, "examples": 8}, checkpoint={"every": 10, "keep": 9},
    )  # fmt: skip


def train(config: Path, *sets: str, ranks: int = 2, check: bool = True):
    more = [word for one in sets for word in ("--set", one)]
    return program("train.py", "--config", config, *more, ranks=ranks, check=check)


@pytest.fixture(scope="module")
def trimmed(config):
    train(config)
    return config.parent / "runs" / "small"


@pytest.fixture(scope="module")
def whole(config):
    train(config, "trim_word_embeddings=false", "name=whole")
    return config.parent / "runs" / "whole"


def weights(folder: Path, name: str = "encoder_last") -> dict[str, torch.Tensor]:
    return load_file(folder / name / "model.safetensors")


def ids_in(made: setup.Setup) -> set[int]:
    """The token ids of all rows, one row after the other."""
    found = set(made.tokenizer.all_special_ids)
    for task in made.tasks:
        for rows in (task.train, task.dev):
            for row in rows.take(np.arange(len(rows))):
                found.update(map(int, row["input_ids"]))
    return found


def test_the_rows_trained_are_those_of_the_data_and_the_special_ones(config, tmp_path, tiny_tokenizer_dir):
    made = setup.read(str(config), [])
    assert made.vocabulary.ids.tolist() == sorted(ids_in(made))
    assert made.vocabulary.trained < made.vocabulary.rows // 2
    table = made.model().encoder.get_input_embeddings()
    assert table.weight.shape == (made.vocabulary.trained, SHAPE["hidden_size"])
    assert setup.read(str(config), ["trim_word_embeddings=false"]).vocabulary.ids is None
    # The softmax of a masked language model reaches every row.
    masked = setup.read(str(write_run(tmp_path, tiny_tokenizer_dir)), [])
    assert masked.vocabulary.ids is None
    assert "my_mlm" in masked.vocabulary.why
    assert masked.model().encoder.get_input_embeddings().weight.shape[0] == len(made.tokenizer)


def close(one: Path, other: Path, ids: np.ndarray, name: str = "encoder_last") -> None:
    """Two exports are the same: trained weights, and embeddings that were not."""
    a, b = weights(one, name), weights(other, name)
    assert {n: w.shape for n, w in a.items()} == {n: w.shape for n, w in b.items()}
    trained = torch.zeros(len(a[TABLE]), dtype=torch.bool)
    trained[torch.from_numpy(ids)] = True
    differences = {n: float((a[n] - b[n]).abs().max()) for n in a if n != TABLE}
    differences[TABLE] = float((a[TABLE] - b[TABLE])[trained].abs().max())
    rest = float(((a[TABLE] - b[TABLE]) / b[TABLE])[~trained].abs().max())
    worst = max(differences, key=differences.__getitem__)
    print(f"\ntrained: {differences[worst] / (LR * STEPS):.1e} of lr x steps ({worst}); rest: {rest:.1e} relative")
    assert differences[worst] < TRAINED * LR * STEPS
    assert rest < UNTRAINED


def test_the_export_equals_that_of_the_whole_table(config, trimmed, whole):
    """50 steps on two ranks, clipped at every step, with decay; the best encoder and the last."""
    ids = setup.read(str(config), []).vocabulary.ids
    for folder in (trimmed, whole):
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        norms = [x["grad_norm"] for x in lines if x["kind"] == "train" and x["task"] == "all"]
        assert len(norms) == STEPS
        assert min(norms) > CLIP
    for name in ("encoder", "encoder_last"):
        close(trimmed, whole, ids, name)
    heads = [load_file(folder / "heads_last" / "heads.safetensors") for folder in (trimmed, whole)]
    assert max(float((heads[0][n] - w).abs().max()) for n, w in heads[1].items()) < TRAINED * LR * STEPS
    scores = [json.loads((f / "checkpoints/step-00000050/state.json").read_text())["dev"] for f in (trimmed, whole)]
    for task, figures in scores[0].items():
        assert figures == pytest.approx(scores[1][task], rel=1e-4), task


def test_the_other_rows_have_decayed_and_nothing_else(config, trimmed, whole):
    """Against the schedule and the decay as they are defined; forgetting the decay would be seen."""
    made = setup.read(str(config), [])
    start = made.model().encoder.get_input_embeddings()
    rates = [LR * min((t + 1) / WARM, (STEPS - t) / (STEPS - WARM)) for t in range(STEPS)]
    left = math.prod(1 - rate * DECAY for rate in rates)
    rest = np.setdiff1d(np.arange(made.vocabulary.rows), made.vocabulary.ids)
    for folder in (trimmed, whole):
        found = weights(folder)[TABLE][rest]
        assert ((found / (start.others * left)) - 1).abs().max() < UNTRAINED
        assert ((found / start.others) - 1).abs().min() > 100 * UNTRAINED
    assert json.loads((trimmed / "checkpoints/step-00000050/state.json").read_text())["decay"] == pytest.approx(
        left, rel=1e-14
    )


def rewound(source: Path, target: Path, after: int) -> Path:
    """A copy of a run as it was after step `after`, in `target`."""
    shutil.copytree(source, target / "small")
    for name in checkpoint.names(target / "small" / "checkpoints"):
        if name > f"step-{after:08d}":
            shutil.rmtree(target / "small" / "checkpoints" / name)
    return target / "small"


def test_resumed_gives_the_same_bits(config, trimmed, tmp_path):
    again = rewound(trimmed, tmp_path, 40)
    assert "after step 40" in (done := train(config, f"output={tmp_path}")).stdout + done.stderr
    for name in ("encoder", "encoder_last"):
        a, b = weights(again, name), weights(trimmed, name)
        assert all(torch.equal(a[n], w) for n, w in b.items())


@pytest.mark.slow
def test_resumed_on_another_number_of_ranks(config, trimmed, tmp_path):
    again = rewound(trimmed, tmp_path, 30)
    train(config, f"output={tmp_path}", ranks=1)
    close(again, trimmed, setup.read(str(config), []).vocabulary.ids)


def test_another_choice_of_rows_is_refused(config, trimmed):
    """With the flag that accepts changes too: the weights have another form."""
    identity = setup.read(str(config), ["trim_word_embeddings=false"]).identity()
    with pytest.raises(InputError, match=r"word embeddings.trained: then \d+, now \d+.*another form"):
        checkpoint.find(trimmed, identity, 2, accept=True)


def test_the_identity_names_the_rows_and_the_seed_of_the_others(config):
    made = setup.read(str(config), [])
    ids = made.vocabulary.ids
    others = [replace(made.vocabulary, ids=some) for some in (ids[:-1], np.append(ids[:-1], ids[-1] + 1))]
    identities = [v.identity(made.run) for v in (made.vocabulary, *others)]
    identities.append(setup.read(str(config), ["seed=2"]).vocabulary.identity(made.run.model_copy(update={"seed": 2})))
    assert all(one != other for i, one in enumerate(identities) for other in identities[:i])
    assert any(name == "word embeddings" for name in checkpoint.FIXED)


def test_the_record_and_the_dry_run_say_so(config, trimmed, whole):
    made = setup.read(str(config), [])
    record = json.loads((trimmed / "run.json").read_text())["word_embeddings"]
    left_out = made.vocabulary.rows - made.vocabulary.trained
    assert (record["rows"], record["trained"]) == (made.vocabulary.rows, made.vocabulary.trained)
    size = left_out * SHAPE["hidden_size"]
    assert record["bytes_saved"] == {"reduced": 4 * size, "gathered": 4 * size, "optimizer": 12 * size}
    assert json.loads((whole / "run.json").read_text())["word_embeddings"]["why"] == "trim_word_embeddings is false"
    for choice, said in (("true", f"{made.vocabulary.trained} of {made.vocabulary.rows} rows"), ("false", "all ")):
        report = dry_run.report(setup.read(str(config), [f"trim_word_embeddings={choice}"]), 2)
        assert f"word embeddings: {said}" in report


@pytest.mark.slow
@pytest.mark.parametrize("deepspeed_file", ["zero0.json", "zero1.json", "zero2.json", "zero2_offload.json"])
def test_in_every_stage_and_in_bf16_too(config, tmp_path, deepspeed_file):
    """In bf16 the whole table starts from rows rounded to bf16, and so do the rows left out."""
    for name, choice in (("small", "true"), ("whole", "false")):
        train(config, f"output={tmp_path}", f"name={name}", f"trim_word_embeddings={choice}", "steps=6",
              f"deepspeed={deepspeed_file}")  # fmt: skip
    rest = np.setdiff1d(np.arange(len(weights(tmp_path / "whole")[TABLE])), setup.read(str(config), []).vocabulary.ids)
    a, b = (weights(tmp_path / name)[TABLE][rest] for name in ("small", "whole"))
    print(f"\n{deepspeed_file}: rows left out differ by {((a / b) - 1).abs().max():.1e} after 6 steps")
    assert ((a / b) - 1).abs().max() < 6 * 2**-24


def test_a_row_that_is_not_there_is_an_error_and_never_another_row(config, tmp_path):
    made = setup.read(str(config), [])
    rest = np.setdiff1d(np.arange(made.vocabulary.rows), made.vocabulary.ids)
    table = made.model().encoder.get_input_embeddings()
    for wrong in (int(rest[0]), int(rest[-1]), made.vocabulary.rows):
        with pytest.raises(IndexError):
            table(torch.tensor([[0, wrong, 2]]))
    # A manifest that was forged, or belongs to other rows: found before the model sees the row.
    data = tmp_path / "data"
    shutil.copytree(made.run.data, data)
    rare = next(int(i) for i in made.vocabulary.ids if i not in made.tokenizer.all_special_ids)
    for path in data.glob("*/*/manifest.json"):
        values = json.loads(path.read_text())
        seen = token_ids.from_text(values["token_ids"])
        seen[rare : rare + 1] = False
        values["token_ids"] = token_ids.to_text(seen)
        path.write_text(json.dumps({**values, "sha256": manifests.checksum(values)}))
    forged = setup.read(str(config), [f"data={data}"])
    assert rare not in forged.vocabulary.ids
    with pytest.raises(InputError, match="is not what was prepared"):
        for step in loader.steps_from(forged.plan, 0):
            loader.micro_batches(forged.plan, step, step.divide(1, 600), 0, forged.special)


def test_a_folder_without_the_entry_is_read_through(config, tmp_path):
    """As an earlier version prepared it."""
    made = setup.read(str(config), [])
    data = tmp_path / "data"
    shutil.copytree(made.run.data, data)
    for path in data.glob("*/*/manifest.json"):
        values = json.loads(path.read_text())
        del values["token_ids"]
        path.write_text(json.dumps({**values, "sha256": manifests.checksum(values)}))
    assert np.array_equal(setup.read(str(config), [f"data={data}"]).vocabulary.ids, made.vocabulary.ids)
    with pytest.raises(InputError, match="outside the vocabulary"):
        Prepared(next(data.glob("*/*/manifest.json")).parent).token_ids(50)


@given(st.lists(st.booleans(), max_size=60))
def test_token_ids_survive_the_manifest(seen):
    found = token_ids.from_text(token_ids.to_text(np.array(seen, bool)))
    assert np.flatnonzero(found).tolist() == [i for i, one in enumerate(seen) if one]


@given(st.lists(st.lists(st.integers(-2, 12), max_size=8), max_size=5))
def test_token_ids_of_columns(columns):
    everything = {i for column in columns for i in column}
    if everything and (min(everything) < 0 or max(everything) >= 10):
        with pytest.raises(ValueError, match="outside"):
            token_ids.used((np.array(column, np.int32) for column in columns), 10)
    else:
        seen = token_ids.used((np.array(column, np.int32) for column in columns), 10)
        assert set(np.flatnonzero(seen)) == everything


def test_the_encoder_computes_the_same():
    """transformers' own forward on a padded batch: positions, outputs, gradients; the padding row gets none."""
    torch.manual_seed(0)
    shape = {**SHAPE, "vocab_size": 40, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    stock = XLMRobertaModel(XLMRobertaConfig(**shape, pad_token_id=1))
    ours = XLMRobertaModel(XLMRobertaConfig(**shape, pad_token_id=1))
    ours.load_state_dict(stock.state_dict())
    ids = np.array([0, 1, 2, 7, 11, 30, 39])
    trim(ours, ids, keep=True)
    tokens = torch.tensor([[0, 30, 7, 7, 2], [0, 39, 2, 1, 1]])
    for model in (stock, ours):
        out = model(tokens, attention_mask=tokens.ne(1)).last_hidden_state
        out.square().sum().backward()
    a, b = (model.get_input_embeddings() for model in (stock, ours))
    assert isinstance(b, TrimmedEmbedding)
    assert torch.equal(out, stock(tokens, attention_mask=tokens.ne(1)).last_hidden_state)
    assert torch.equal(b.weight.grad, a.weight.grad[ids])
    assert not b.weight.grad[1].any()
    assert "place" not in str(ours.state_dict().keys())
    assert torch.equal(b.whole(b.weight.detach(), 1.0), a.weight)
