"""`python -m eval mlm-loss`: transformers' own loss on the same masked rows, by language, with every kind of head."""

import json
import random
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModel, AutoTokenizer

from eval import mlm_loss
from eval.__main__ import main
from eval.export import export
from mtl.data.packing import pack
from mtl.data.task_data import special_of
from mtl.model.encoder import load_config
from mtl.model.families import adapted
from mtl.run import setup
from tasks.encoding import Encoding
from tasks.mlm.data import Text
from tasks.registry import TASK_TYPES
from tests.support import masked_lm
from tests.support.rows import hub_file, write
from tests.support.small import sentence, write_run, write_tasks


def texts(seed: int, count: int = 30) -> list[str]:
    rng = random.Random(seed)
    return [sentence(rng, 5, 40) for _ in range(count)]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Wikipedia in one language, and a text file of another."""
    rows = [{"id": str(i), "text": text} for i, text in enumerate(texts(1, 40))]
    write(hub_file(tmp_path / "wikimedia/wikipedia/20231101.sw", "train"), rows)
    write(tmp_path / "own.txt", "".join(f"{text}\n" for text in texts(2)))
    return tmp_path


def measured(world: Path, *encoders: Path, more: tuple[object, ...] = ()) -> list[dict]:
    named = [part for encoder in encoders for part in ("--encoder", encoder)]
    data = ["--data", world, "--languages", "sw", "--text", f"xx={world / 'own.txt'}", "--max-length", 30]
    assert main([str(part) for part in ["mlm-loss", *named, *data, "--out", world / "out", *more]]) == 0
    return json.loads((world / "out" / "mlm_loss.json").read_text())["encoders"]


def expected(folder: Path, lines: list[str], code: str, numbers: list[int] | None = None) -> tuple[float, int]:
    """(mean loss, masked tokens) by transformers' own class, a row at a time or as `numbers` has them."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = adapted(special_of(tokenizer), load_config(folder))
    rows = TASK_TYPES["mlm"].encode(tokenizer, [Text("", line) for line in lines], Encoding(30))
    fetch = partial(mlm_loss.masked, rows, special, code)
    batches = [pack([(0, np.arange(1), fetch(np.array([n])))], [("t", "mlm")], special) for n in range(len(rows))]
    total, count = masked_lm.loss(folder, batches, "t")
    return total / count, count


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_the_loss_of_transformers_by_language(world: Path, tiny_tokenizer_dir: Path, tied: bool) -> None:
    encoder = masked_lm.checkpoint(world / "one", tiny_tokenizer_dir, tie_word_embeddings=tied)
    (found,) = measured(world, encoder)
    for code, lines in (("sw", texts(1, 40)), ("xx", texts(2))):
        loss, count = expected(encoder, lines, code)
        assert found["languages"][code]["loss"] == pytest.approx(loss, rel=1e-5)
        assert found["languages"][code]["tokens"] == count > 50
    assert found["head"] == "its own"
    assert expected(encoder, texts(2), "sw")[0] != pytest.approx(expected(encoder, texts(2), "xx")[0])  # other masks
    (small,) = measured(world, encoder, more=("--micro-tokens", 40))  # the masks do not depend on what is in a batch
    assert small["languages"]["sw"] == pytest.approx(found["languages"]["sw"], rel=1e-5)


def test_an_encoder_without_lm_head(world: Path, tiny_tokenizer_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line; or the head of the encoder that it was trained from."""
    whole = masked_lm.checkpoint(world / "one", tiny_tokenizer_dir)
    bare = masked_lm.write(world / "bare", tiny_tokenizer_dir, AutoModel.from_pretrained(whole))
    before, after = measured(world, whole, bare, more=("--head", whole))
    assert after["languages"] == before["languages"] and after["head"] == f"that of {whole}"
    assert "one" in (table := capsys.readouterr().out) and "(+0.000)" in table and "mean" in table
    assert main(["mlm-loss", "--encoder", str(bare), "--text", f"xx={world / 'own.txt'}"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]  # after the bars of transformers
    assert last.startswith(f"error: --encoder {bare}: no LM head in it") and last.endswith("trained from")


def test_a_run_with_an_mlm_task_has_its_trained_head(world: Path, tiny_tokenizer_dir: Path) -> None:
    tasks = write_tasks(world, kinds=("classify", "mlm"))
    made = setup.read(str(write_run(world, tiny_tokenizer_dir, tasks=tasks)), [])
    masked_lm.export(made)
    (found,) = measured(world, made.run.folder / "encoder")
    export(str(made.run.folder / "encoder"), "my_mlm", world / "joined")
    assert found["languages"]["xx"]["loss"] == pytest.approx(expected(world / "joined", texts(2), "xx")[0], rel=1e-5)
    assert found["head"] == "trained as my_mlm"
    # One that was trained from it, without text.
    bare = shutil.copytree(made.run.folder / "encoder", world / "after" / "encoder")
    (after,) = measured(world, bare, more=("--head", made.run.folder / "encoder"))
    assert after["languages"] == found["languages"]


def test_wrong_languages_are_one_line(
    world: Path, tiny_tokenizer_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = masked_lm.checkpoint(world / "one", tiny_tokenizer_dir)
    capsys.readouterr()
    for more, said in (
        (["--languages", "qq"], "--languages qq: no Wikipedia for it (there: af ar"),
        (["--text", "de"], "--text de: expected CODE=FILE"),
        ([], "give --languages, or --text CODE=FILE"),
    ):
        assert main(["mlm-loss", "--encoder", str(encoder), *more]) == 2
        assert said in (error := capsys.readouterr().err) and error.count("\n") == 1
