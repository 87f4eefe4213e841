"""Each head and loss against transformers' own `XLMRobertaFor*` on padded batches."""

import numpy as np
import pytest
import torch
from transformers import (
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaForMultipleChoice,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

from common.run_config import RandomEncoder
from mtl.data.packing import Special, pack
from mtl.model.encoder import MultiTaskModel, load_encoder
from tests.support.small import SHAPE

SPECIAL = Special(0, 2, 1, 89, 90, (0, 1, 2, 3, 89))
CONFIG = {**SHAPE, "vocab_size": 90}


@pytest.fixture
def build():
    """A MultiTaskModel with one head, and transformers' own model with the same weights."""

    def make(kind, cls, rename, labels=None):
        encoder = load_encoder(RandomEncoder(config=CONFIG, tokenizer="none"), seed=3)
        ours = MultiTaskModel(encoder, {"t": kind}, {"t": labels}, seed=5).eval()
        with torch.no_grad():  # fresh biases are 0: make them matter
            for parameter in ours.heads.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        config = XLMRobertaConfig(**{**encoder.config.to_dict(), "num_labels": labels or 2})
        config._attn_implementation = "eager"
        theirs = cls(config).eval()
        state = {f"roberta.{n}": w for n, w in encoder.state_dict().items()}
        state |= {rename[n]: w for n, w in ours.heads["t"].state_dict().items()}
        if kind == "mlm":
            state["lm_head.decoder.weight"] = encoder.get_input_embeddings().weight
            state["lm_head.decoder.bias"] = state["lm_head.bias"]
        missing, unexpected = theirs.load_state_dict(state, strict=False)
        assert not [n for n in missing if "pooler" not in n]
        assert all("pooler" in n for n in unexpected)
        return ours, theirs

    return make


def sequences(seed=0, count=6):
    rng = np.random.default_rng(seed)
    return [np.r_[0, rng.integers(4, 88, size=rng.integers(3, 25)), 2] for _ in range(count)]


def padded(parts):
    longest = max(map(len, parts))
    ids = torch.ones(len(parts), longest, dtype=torch.long)
    for i, part in enumerate(parts):
        ids[i, : len(part)] = torch.from_numpy(part)
    return ids, (ids != 1).long()


def compare(ours, batch, loss_sum, scores, expected):
    with torch.no_grad():
        total, stats = ours(batch)
        assert total.item() == pytest.approx(loss_sum.item(), rel=1e-5)
        assert stats[0, 0].item() == pytest.approx(loss_sum.item(), rel=1e-5)
        assert (ours.scores(batch, "t") - scores).abs().max().item() < 1e-5
    assert stats[0, 1].item() == expected


def test_classify(build):
    rename = {f"{m}.{p}": f"classifier.{m}.{p}" for m in ("dense", "out_proj") for p in ("weight", "bias")}
    ours, theirs = build("classify", XLMRobertaForSequenceClassification, rename, labels=3)
    parts, labels = sequences(), torch.tensor([0, 2, 1, 1, 0, 2])
    items = [(0, {"input_ids": s, "lengths": [len(s)], "label": int(y)}) for s, y in zip(parts, labels, strict=True)]
    ids, mask = padded(parts)
    out = theirs(ids, attention_mask=mask, labels=labels)
    batch = pack(items, [("t", "classify")], SPECIAL)
    compare(ours, batch, out.loss * 6, out.logits, (out.logits.argmax(-1) == labels).sum())


def test_choice(build):
    """Two to four choices in one batch; transformers' own takes one example at a time, all with as many choices."""
    ours, theirs = build(
        "choice", XLMRobertaForMultipleChoice, {f"classifier.{p}": f"classifier.{p}" for p in ("weight", "bias")}
    )
    items, total, scores, right = [], 0, [], 0
    for seed, (count, label) in enumerate([(2, 1), (4, 3), (3, 0), (4, 0)]):
        parts = sequences(seed, count)
        items.append((0, {"input_ids": np.concatenate(parts), "lengths": [len(p) for p in parts], "label": label}))
        ids, mask = padded(parts)
        out = theirs(ids[None], attention_mask=mask[None], labels=torch.tensor([label]))
        total = total + out.loss
        scores.append(out.logits[0])
        right += int(out.logits[0].argmax() == label)
    compare(ours, pack(items, [("t", "choice")], SPECIAL), total, torch.cat(scores), right)


def test_span(build):
    """transformers' own softmax runs over the padded row with padding left in, so each window is given alone."""
    ours, theirs = build(
        "span", XLMRobertaForQuestionAnswering, {f"qa_outputs.{p}": f"qa_outputs.{p}" for p in ("weight", "bias")}
    )
    items, total, scores, right = [], 0, [], 0
    for part, (start, end) in zip(sequences(), [(0, 0), (1, 3), (2, 2), (0, 0), (1, 1), (3, 4)], strict=True):
        items.append((0, {"input_ids": part, "lengths": [len(part)], "start": start, "end": end}))
        out = theirs(
            torch.from_numpy(part)[None], start_positions=torch.tensor([start]), end_positions=torch.tensor([end])
        )
        total = total + out.loss
        scores.append(torch.stack([out.start_logits[0], out.end_logits[0]], -1))
        right += int(out.start_logits.argmax() == start and out.end_logits.argmax() == end)
    compare(ours, pack(items, [("t", "span")], SPECIAL), total, torch.cat(scores), right)


def test_tag(build):
    ours, theirs = build(
        "tag",
        XLMRobertaForTokenClassification,
        {f"classifier.{p}": f"classifier.{p}" for p in ("weight", "bias")},
        labels=5,
    )
    rng = np.random.default_rng(2)
    parts, items, scores = sequences(), [], []
    ids, mask = padded(parts)
    labels = torch.full_like(ids, -100)
    for i, part in enumerate(parts):
        places = np.sort(rng.choice(np.arange(1, len(part) - 1), size=len(part) // 2, replace=False))
        tags = rng.integers(0, 5, size=len(places))
        labels[i, places] = torch.from_numpy(tags)
        items.append((0, {"input_ids": part, "lengths": [len(part)], "positions": places, "labels": tags}))
    out = theirs(ids, attention_mask=mask, labels=labels)
    scores = out.logits[labels >= 0]
    count = (labels >= 0).sum()
    right = (scores.argmax(-1) == labels[labels >= 0]).sum()
    compare(ours, pack(items, [("t", "tag")], SPECIAL), out.loss * count, scores, right)


def test_mlm(build):
    rename = {"bias": "lm_head.bias"}
    rename |= {f"{m}.{p}": f"lm_head.{m}.{p}" for m in ("dense", "layer_norm") for p in ("weight", "bias")}
    ours, theirs = build("mlm", XLMRobertaForMaskedLM, rename)
    parts, items = sequences(), []
    ids, mask = padded(parts)
    labels = torch.full_like(ids, -100)
    for i, part in enumerate(parts):
        places = np.array([1, len(part) - 2])
        labels[i, places] = torch.from_numpy(part[places])
        hidden = part.copy()
        hidden[places] = 89
        ids[i, places] = 89
        items.append((0, {"input_ids": hidden, "lengths": [len(part)], "positions": places, "labels": part[places]}))
    out = theirs(ids, attention_mask=mask, labels=labels)
    count = (labels >= 0).sum()
    scores = out.logits[labels >= 0]
    right = (scores.argmax(-1) == labels[labels >= 0]).sum()
    compare(ours, pack(items, [("t", "mlm")], SPECIAL), out.loss * count, scores, right)


def test_a_label_unknown_to_training_costs_nothing_and_is_never_right(build):
    ours, _ = build(
        "tag",
        XLMRobertaForTokenClassification,
        {f"classifier.{p}": f"classifier.{p}" for p in ("weight", "bias")},
        labels=5,
    )
    part = sequences()[0]
    known = {"input_ids": part, "lengths": [len(part)], "positions": [1], "labels": [3]}
    both = {**known, "positions": [1, 2], "labels": [3, -1]}
    with torch.no_grad():
        one, first = ours(pack([(0, known)], [("t", "tag")], SPECIAL))
        two, second = ours(pack([(0, both)], [("t", "tag")], SPECIAL))
    assert one.item() == pytest.approx(two.item())
    assert first[0, 1] == second[0, 1]


def test_pooler_without_choice_task_is_left_alone():
    encoder = load_encoder(RandomEncoder(config=CONFIG, tokenizer="none"), seed=3)
    MultiTaskModel(encoder, {"t": "span"}, {"t": None}, seed=5)
    assert not any(p.requires_grad for p in encoder.pooler.parameters())
