"""Sentence vectors against a plain padded transformers loop; nearest neighbours against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from eval_run import make_run
from sklearn.neighbors import NearestNeighbors
from transformers import AutoModel, AutoTokenizer

from data_prep import tokenizer as tokenizers
from eval import embed as embedding
from eval import retrieve
from eval.embed import default_layer, embed, embed_all
from mtl.model import load_encoder

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
    mask = batch["attention_mask"].bool()
    if pooling == "mean_no_special":
        mask &= (batch["input_ids"] != tokenizer.bos_token_id) & (batch["input_ids"] != tokenizer.eos_token_id)
    return torch.stack([states[m].mean(0) for states, m in zip(hidden, mask, strict=True)]).numpy()


@pytest.mark.parametrize("pooling", ["mean", "mean_no_special", "cls"])
@pytest.mark.parametrize("layer", [0, 1, 2, 3, 4])
def test_vectors_equal_a_padded_loop(folder: Path, layer: int, pooling: str) -> None:
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    groups = list(embed(encoder, tokenizer, TEXTS, layer=layer, pooling=pooling, micro_tokens=30))
    expected = reference(folder, layer, pooling)
    assert len(groups) > 1  # several batches, whose order must not show
    assert sorted(np.concatenate([places for places, _ in groups])) == list(range(len(TEXTS)))
    for places, vectors in groups:
        assert vectors.dtype == np.float32 and np.abs(expected).max() > 0.1
        np.testing.assert_allclose(vectors, expected[places], atol=1e-5)
    vectors = embed_all(encoder, tokenizer, TEXTS, layer=layer, pooling=pooling, micro_tokens=30)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@torch.no_grad()
def test_pooler_of_the_last_layer(folder: Path) -> None:
    """What the dual encoders of LAReQA and Mewsli-X compare: the pooler's output on <s>, at length 1."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    expected = AutoModel.from_pretrained(folder).eval()(**batch).pooler_output.numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    ours = embed_all(load_encoder(folder), tokenizers.load(folder), TEXTS, layer=None, pooling="pooler")
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_blocks_of_texts_do_not_show(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million candidates are tokenised block by block; texts are packed with others then, which changes nothing."""
    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    expected = embed_all(encoder, tokenizer, TEXTS, layer=2)
    monkeypatch.setattr(embedding, "BLOCK", 4)
    shares = [list(embed(encoder, tokenizer, TEXTS, layer=2, micro_tokens=40, share=(n, 2))) for n in range(2)]
    places = np.concatenate([p for share in shares for p, _ in share])
    assert sorted(places) == list(range(len(TEXTS))) and all(shares)
    np.testing.assert_allclose(np.concatenate([v for share in shares for _, v in share]), expected[places], atol=1e-5)


def test_long_texts_are_cut_and_counted(folder: Path) -> None:
    from collections import Counter

    tokenizer, encoder = tokenizers.load(folder), load_encoder(folder)
    truncated: Counter[str] = Counter()
    (group,) = embed(encoder, tokenizer, TEXTS, layer=2, max_length=12, truncated=truncated)
    vectors = group[1][np.argsort(group[0])]
    np.testing.assert_allclose(vectors, reference(folder, 2, "mean", max_length=12), atol=1e-5)
    lengths = [len(ids) for ids in tokenizer(TEXTS)["input_ids"]]
    assert truncated == {"text": sum(n > 12 for n in lengths)} and truncated["text"] > 0


def test_layers_above_are_not_computed(folder: Path) -> None:
    encoder = load_encoder(folder)
    for block in encoder.encoder.layer[2:]:
        block.forward = None  # type: ignore[method-assign,assignment]  # would fail if it were called
    assert embed_all(encoder, tokenizers.load(folder), TEXTS, layer=2).any()


def test_default_layer() -> None:
    assert [default_layer(depth) for depth in (24, 12, 4, 2, 1)] == [14, 7, 2, 1, 1]


@pytest.mark.parametrize("block", [7, 64, 4096])
@pytest.mark.parametrize("k", [1, 4, 50])
def test_top_k_is_scikit_learns(block: int, k: int) -> None:
    rng = np.random.default_rng(k)
    queries, index = rng.normal(size=(83, 16)), rng.normal(size=(131, 16))
    scores, places = retrieve.top_k(retrieve.normalise(queries), retrieve.normalise(index), k, block)
    distances, expected = NearestNeighbors(n_neighbors=k, metric="cosine").fit(index).kneighbors(queries)
    assert (places.numpy() == expected).all()
    np.testing.assert_allclose(scores.numpy(), 1 - distances, atol=1e-5)


def test_equal_scores_give_the_earlier_row() -> None:
    index = retrieve.normalise(np.array([[0, 1.0], [1, 0], [1, 0], [1, 0], [0, 1]]))
    for block in (1, 2, 3, 10):
        _, places = retrieve.top_k(retrieve.normalise(np.array([[1.0, 0], [0, 2]])), index, 1, block)
        assert places[:, 0].tolist() == [1, 0]
        _, places = retrieve.top_k(index[1:2], index, 3, block)
        assert places.tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match="5 rows"):
        retrieve.top_k(index, index, 6)


def test_accuracy_has_a_direction_and_centring_helps() -> None:
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(60, 8))
    english = meaning + 5 * rng.normal(size=8)
    other = meaning + 0.3 * rng.normal(size=(60, 8)) - 5 * rng.normal(size=8)
    for x, y in ((english, other), (other, english)):
        near = NearestNeighbors(n_neighbors=1, metric="cosine").fit(y).kneighbors(x, return_distance=False)[:, 0]
        assert retrieve.accuracy(x, y) == pytest.approx(100 * np.mean(near == np.arange(60)))
    assert retrieve.accuracy(english, other) != retrieve.accuracy(other, english)
    centred = retrieve.accuracy(retrieve.centre(english), retrieve.centre(other))
    assert centred > retrieve.accuracy(english, other) + 20
    assert np.abs(retrieve.centre(english).mean(axis=0)).max() < 1e-9
