"""Sentence vectors against a plain padded transformers loop; accuracy of retrieval against scikit-learn."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from transformers import AutoModel, AutoTokenizer

from common.errors import InputError
from data_prep.encoding import tokenizer as tokenizers
from eval.inference.embed import default_layer, embed, embed_layers
from eval.retrieval.retrieve import centre, nearest_both
from mtl.model.encoder import load_encoder
from tests.support.eval_run import make_run

TEXTS = [
    "the small dog runs to the old house near the river",
    "小さい犬が川の近くの古い家に走る",
    "a",
    "маленькая собака бежит к старому дому у реки и читает длинное письмо в саду каждое утро",
    "zzz qqq ẞ 🙂",
    "the old house",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_tokenizer_dir: Path) -> Path:
    return make_run(tmp_path_factory.mktemp("vectors"), tiny_tokenizer_dir)


@torch.no_grad()
def reference(folder: Path, layer: int, pooling: str, max_length: int = 512) -> np.ndarray:
    """Stock model, padded batch, attention mask, hidden_states[layer]."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    hidden = model(**batch, output_hidden_states=True).hidden_states[layer]
    if pooling == "cls":
        return hidden[:, 0].numpy()
    if pooling == "pooler":
        return model.pooler(hidden).numpy()
    mask = batch["attention_mask"].bool()
    if pooling == "mean_no_special":
        mask &= (batch["input_ids"] != tokenizer.bos_token_id) & (batch["input_ids"] != tokenizer.eos_token_id)
    return torch.stack([states[m].mean(0) for states, m in zip(hidden, mask, strict=True)]).numpy()


@pytest.mark.parametrize("pooling", ["mean", "mean_no_special", "cls", "pooler"])
@pytest.mark.parametrize("layer", [0, 1, 2, 3, 4])
def test_vectors_equal_a_padded_loop(folder: Path, layer: int, pooling: str) -> None:
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    done: list[int] = []
    vectors = embed(encoder, tokenizer, TEXTS, layer=layer, pooling=pooling, micro_tokens=30, progress=done.append)
    expected = reference(folder, layer, pooling)
    assert vectors.dtype == np.float32 and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert sum(done) == len(TEXTS) and len(done) > 1  # several batches, whose order must not show


@pytest.mark.gpu
@pytest.mark.parametrize("pooling", ["mean", "mean_no_special", "cls", "pooler"])
def test_a_gpu_gives_the_same_bits_each_time(folder: Path, pooling: str) -> None:
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder).to("cuda")
    first, second = (embed(encoder, tokenizer, TEXTS * 200, layer=3, pooling=pooling) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    np.testing.assert_allclose(first[: len(TEXTS)], reference(folder, 3, pooling), atol=1e-3)


def test_long_texts_are_cut_and_counted(folder: Path) -> None:
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    truncated: Counter[str] = Counter()
    vectors = embed(encoder, tokenizer, TEXTS, layer=2, max_length=12, truncated=truncated)
    np.testing.assert_allclose(vectors, reference(folder, 2, "mean", max_length=12), atol=1e-5)
    lengths = [len(ids) for ids in tokenizer(TEXTS)["input_ids"]]
    assert truncated == {"text": sum(n > 12 for n in lengths)} and truncated["text"] > 0


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_several_layers_in_one_pass(folder: Path, pooling: str) -> None:
    """Each layer's vectors are those it has by itself, in the order asked for; no layer runs twice, none above runs."""
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    calls: Counter[int] = Counter()
    for number, block in enumerate(encoder.encoder.layer, 1):
        block.attention.self.register_forward_hook(lambda *_, number=number: calls.update([number]))
    batches: list[int] = []
    layers = [3, 0, 1]
    vectors = embed_layers(
        encoder, tokenizer, TEXTS, layers=layers, pooling=pooling, micro_tokens=30, progress=batches.append
    )
    assert vectors.shape == (3, len(TEXTS), 32) and vectors.dtype == np.float32
    assert calls == {number: len(batches) for number in (1, 2, 3)} and len(batches) > 1
    for layer, one in zip(layers, vectors, strict=True):
        np.testing.assert_allclose(one, reference(folder, layer, pooling), atol=1e-5)
        assert (one == embed(encoder, tokenizer, TEXTS, layer=layer, pooling=pooling, micro_tokens=30)).all()


def test_layers_above_are_not_computed(folder: Path) -> None:
    encoder = load_encoder(folder)
    for block in encoder.encoder.layer[2:]:
        block.forward = None  # type: ignore[method-assign,assignment]  # would fail if it were called
    embed(encoder, tokenizers.load(folder), TEXTS, layer=2)


@pytest.mark.parametrize("processes", [2, 3, 50])
def test_shares_add_up_to_the_vectors_of_one_process(folder: Path, processes: int) -> None:
    """To the bit, whatever the number of processes; each text is done by one of them."""
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    whole = embed_layers(encoder, tokenizer, TEXTS, layers=[2, 4], micro_tokens=30)
    done: list[int] = []
    parts = [
        embed_layers(
            encoder, tokenizer, TEXTS, layers=[2, 4], micro_tokens=30, share=(rank, processes), progress=done.append
        )
        for rank in range(processes)
    ]
    assert (sum(parts) == whole).all()
    assert sum((part[0] != 0).any(axis=1).astype(int) for part in parts).tolist() == [1] * len(TEXTS)
    assert sum(done) == len(TEXTS)


def test_an_encoder_without_pooler_is_refused(folder: Path) -> None:
    encoder = load_encoder(folder)
    encoder.pooler = None
    with pytest.raises(InputError, match="has none"):
        embed(encoder, tokenizers.load(folder), TEXTS, layer=4, pooling="pooler")


def test_default_layer() -> None:
    assert [default_layer(depth) for depth in (24, 12, 4, 2, 1)] == [14, 7, 2, 1, 1]


def accuracies(left: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Share of rows i, 0-100, whose nearest row of the other side is row i, in both directions."""
    there, back = (100 * float((places == np.arange(len(places))).mean()) for places in nearest_both(left, right))
    return there, back


def test_accuracy_has_a_direction_and_centring_helps() -> None:
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(60, 8))
    english = meaning + 5 * rng.normal(size=8)
    other = meaning + 0.3 * rng.normal(size=(60, 8)) - 5 * rng.normal(size=8)
    for x, y in ((english, other), (other, english)):
        for places, queries, index in zip(nearest_both(x, y), (x, y), (y, x), strict=True):
            near = NearestNeighbors(n_neighbors=1, metric="cosine").fit(index)
            expected = near.kneighbors(queries, return_distance=False)[:, 0]
            assert (places == expected).all()
        assert accuracies(x, y) == accuracies(y, x)[::-1]
    assert accuracies(english, other)[0] != accuracies(english, other)[1]
    centred = accuracies(centre(english), centre(other))
    assert centred[0] > accuracies(english, other)[0] + 20
    assert np.abs(centre(english).mean(axis=0)).max() < 1e-9
