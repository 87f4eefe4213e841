"""Sentence vectors of every layer and pooling equal those of a plain padded transformers loop, on any processes."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from data_prep.encoding import tokenizer as tokenizers
from eval.inference.predict import default_layer, embed_layers
from mtl.model.encoder import load_encoder
from tests.support.eval_run import make_run, padded_vectors

TEXTS = [
    "the small dog runs to the old house near the river",
    "小さい犬が川の近くの古い家に走る",
    "a",
    "маленькая собака бежит к старому дому у реки и читает длинное письмо в саду каждое утро",
    "zzz qqq ẞ 🙂",
    "the old house",
]
POOLINGS = ["mean", "mean_no_special", "cls", "pooler"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    return make_run(tmp_path_factory.mktemp("vectors"), tiny_tokenizer_dir)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_equal_a_padded_loop(folder: Path, pooling: str) -> None:
    """Each layer's vectors are those it has by itself, in the order asked for; no layer runs twice."""
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    calls: Counter[int] = Counter()
    for number, block in enumerate(encoder.encoder.layer, 1):
        block.attention.self.register_forward_hook(lambda *_, number=number: calls.update([number]))
    layers, done = [3, 0, 4, 1, 2], []
    options: dict[str, Any] = {"pooling": pooling, "micro_tokens": 30}
    vectors = embed_layers(encoder, tokenizer, TEXTS, layers=layers, progress=done.append, **options)
    assert vectors.shape == (5, len(TEXTS), 32) and vectors.dtype == np.float32
    assert sum(done) == len(TEXTS) and len(done) > 1  # several batches, whose order must not show
    assert calls == {number: len(done) for number in (1, 2, 3, 4)}
    for layer, one in zip(layers, vectors, strict=True):
        expected = padded_vectors(folder, TEXTS, layer, pooling)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(one, expected, atol=1e-5)
        assert (one == embed_layers(encoder, tokenizer, TEXTS, [layer], **options)[0]).all()


@pytest.mark.gpu
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_gpu_gives_the_same_bits_each_time(folder: Path, pooling: str) -> None:
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder).to("cuda")
    first, second = (embed_layers(encoder, tokenizer, TEXTS * 200, [3], pooling=pooling)[0] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    np.testing.assert_allclose(first[: len(TEXTS)], padded_vectors(folder, TEXTS, 3, pooling), atol=1e-3)


def test_long_texts_are_cut_and_counted(folder: Path) -> None:
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    for block in encoder.encoder.layer[2:]:  # those above the layer are not computed
        block.forward = None  # type: ignore[method-assign,assignment]  # would fail if it were called
    truncated: Counter[str] = Counter()
    vectors = embed_layers(encoder, tokenizer, TEXTS, [2], max_length=12, truncated=truncated)[0]
    np.testing.assert_allclose(vectors, padded_vectors(folder, TEXTS, 2, max_length=12), atol=1e-5)
    lengths = [len(ids) for ids in tokenizer(TEXTS)["input_ids"]]
    assert truncated == {"text": sum(n > 12 for n in lengths)} and truncated["text"] > 0


def test_an_encoder_without_pooler_is_refused(folder: Path) -> None:
    encoder = load_encoder(folder)
    encoder.pooler = None
    with pytest.raises(InputError, match="has none"):
        embed_layers(encoder, tokenizers.load(folder), TEXTS, [4], pooling="pooler")


def test_default_layer() -> None:
    """14 of XLM-R Large's 24 (Hu et al. 2020, XTREME), in proportion."""
    assert [default_layer(depth) for depth in (24, 12, 4, 2, 1)] == [14, 7, 2, 1, 1]
